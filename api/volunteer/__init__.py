"""What a volunteer sees and decides: the bearer of a token, about one pseudonym alone."""
