"""MQTT -> the time-series store. The only part that owns raw readings."""
