"""Other people's models in, ours out: diffusers, k-diffusion, azula, ONNX."""
