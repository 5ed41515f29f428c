"""How good the pictures are after how many seconds of training."""
