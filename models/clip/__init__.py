"""CLIP models: OpenAI, OpenCLIP, RemoteCLIP."""
