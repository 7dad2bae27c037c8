"""What passes between the parts of Wijkpols: pure values, wire formats and ports. No I/O happens here."""
