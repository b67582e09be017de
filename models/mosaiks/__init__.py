"""MOSAIKS random convolutional features."""
