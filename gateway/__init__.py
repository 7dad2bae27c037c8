"""Bytes of wristbands -> one-minute readings -> MQTT. Runs on a Raspberry Pi."""
