"""A program that can only connect: program.py PORT WORD [NAME]; with a name, by SOCKS5.

Prints what it hears once it has said the word and ended its way, or SOCKS5's reply if that is no success.
"""
import socket
import sys

port, word = int(sys.argv[1]), sys.argv[2]
with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
    if len(sys.argv) > 3:
        name = sys.argv[3].encode()
        stream.sendall(b"\5\1\0")
        assert stream.recv(2) == b"\5\0"
        stream.sendall(b"\5\1\0\3" + bytes([len(name)]) + name + (80).to_bytes(2, "big"))
        reply = stream.recv(10)[1]
        if reply:
            sys.exit(f"reply {reply}")
    stream.sendall(word.encode() + b"\n")
    stream.shutdown(socket.SHUT_WR)
    heard = b""
    while part := stream.recv(4096):
        heard += part
    print(heard.decode(), end="")
