"""What everybody may see, without logging in."""
