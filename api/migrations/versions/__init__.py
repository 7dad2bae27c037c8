"""One file per step. A step that was released is never changed; the next step mends it."""
