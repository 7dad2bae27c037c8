"""The wristband: a real GATT peripheral (Bumble) that gives bytes. Imports none of ours."""
