"""Running a loaded model: engines, devices, precision, batches, pooling."""
