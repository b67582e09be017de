"""Images, bands, radar and text prepared as the reference implementations do."""
