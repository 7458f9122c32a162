"""Opens a connection: cross.py ADDRESS PEER SECONDS, each with port 4000. Says when its SYN has left,
and what came of it in that time. SYNs leave after 0, 1, 3, 7 and 15 seconds."""
import select
import socket
import sys

ours = socket.socket()
ours.bind((sys.argv[1], 4000))
ours.setblocking(False)
ours.connect_ex((sys.argv[2], 4000))
print("sent", flush=True)
select.select([], [ours], [], float(sys.argv[3]))
state = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
# ESTABLISHED, or CLOSE-WAIT: the other end has been open as well, and is gone already.
print("open" if state in (1, 8) else "not open", flush=True)
