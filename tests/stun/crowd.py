"""Clients that hold connections and say half a request: crowd.py ADDRESS PORT COUNT"""

import socket
import sys

sockets = []
for number in range(int(sys.argv[3])):
    try:
        client = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
        client.sendall(b"\x00\x01\x00\x10\x21\x12")
        sockets.append(client)
    except OSError:
        # The server has shown it out.
        pass
print("crowded", flush=True)
sys.stdin.read()
