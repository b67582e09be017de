"""Running models: loading, engines, devices, precision, batches and pooling."""
