"""Takes port 4000 of 192.168.1.2: ports.py listen | bind | linger PORT. The last needs 'serve PORT' on
192.168.1.1. Says when it has."""
import socket
import sys
import time


def serve(port):
    server = socket.create_server(("192.168.1.1", port))
    print("serving", flush=True)
    connection, _ = server.accept()
    assert connection.recv(1) == b""
    connection.close()


def linger(ours, port):
    # Whoever closes first keeps TIME-WAIT (RFC 9293 section 3.6).
    ours.connect(("192.168.1.1", port))
    ours.shutdown(socket.SHUT_WR)
    assert ours.recv(1) == b""
    ours.close()


def take(how):
    ours = socket.socket()
    ours.bind(("192.168.1.2", 4000))
    if how == "listen":
        ours.listen()
    elif how == "linger":
        linger(ours, int(sys.argv[2]))
    print("taken", flush=True)
    time.sleep(600)


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    take(sys.argv[1])
