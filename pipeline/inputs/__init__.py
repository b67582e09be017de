"""Images and pixels that callers send: downloading, checking, decoding."""
