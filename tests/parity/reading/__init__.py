"""How the parity cases of single models are read, one module per model id."""
