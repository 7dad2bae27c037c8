"""Released indices, consent and transparency -> people."""
