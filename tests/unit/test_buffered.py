"""The socket under paho: whatever sizes are asked for, the same bytes in order, and none that `select` misses."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.buffered import CHUNK_BYTES, BufferedSocket


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(1, 200), min_size=1))
def test_the_bytes_are_those_that_were_sent(sent: list[bytes], sizes: list[int]):
    ours, theirs = socket.socketpair()
    buffered = BufferedSocket(ours)
    buffered.setblocking(False)
    for data in sent:
        theirs.sendall(data)
    taken = b""
    while len(taken) < sum(map(len, sent)):
        size = sizes[len(taken) % len(sizes)]
        piece = buffered.recv(size)
        assert 0 < len(piece) <= size
        taken += piece
    assert taken == b"".join(sent)
    assert buffered.pending() == 0
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    theirs.close()
    assert buffered.recv(1) == b""
    buffered.close()


def test_what_is_read_ahead_is_told_since_select_cannot_see_it():
    ours, theirs = socket.socketpair()
    buffered = BufferedSocket(ours)
    theirs.sendall(bytes(range(100)))
    assert buffered.recv(1) == b"\0"
    assert buffered.pending() == 99 < CHUNK_BYTES
    buffered.close()
    assert buffered.pending() == 0
    theirs.close()
