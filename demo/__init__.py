"""The whole house on one machine, played at speed and then live."""
