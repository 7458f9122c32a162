"""STUN servers that are none, or bad ones: server.py ADDRESS PORT HOW"""

import os
import socket
import struct
import sys
import threading

COOKIE = 0x2112A442


def address(kind, ip, port, transaction=None):
    host = struct.unpack("!I", socket.inet_aton(ip))[0]
    if transaction is not None:
        port, host = port ^ (COOKIE >> 16), host ^ COOKIE
    return struct.pack("!HHBBHI", kind, 8, 0, 1, port, host)


def message(kind, transaction, attributes):
    body = b"".join(attributes)
    return struct.pack("!HHI", kind, len(body), COOKIE) + transaction + body


def answers(how, transaction, ip, port, number):
    xor = address(0x0020, ip, port, transaction)
    if how == "error":
        words = b"Go away!"
        return message(0x0111, transaction, [struct.pack("!HHHBB", 9, 4 + len(words), 0, 5, 0) + words])
    if how == "stranger":
        return message(0x0101, os.urandom(12), [xor])
    if how == "liar":
        return message(0x0101, transaction, [address(0x0020, ip, 20000 + number, transaction)])
    if how == "two-faced":
        return message(0x0101, transaction, [xor, address(0x0001, "192.0.2.99", port)])
    if how == "alg":
        return message(0x0101, transaction, [xor, address(0x0001, "192.168.1.2", 4000)])
    if how == "empty":
        return message(0x0101, transaction, [])
    if how == "doorkeeper":
        return message(0x0101, transaction, [xor, address(0x802C, "127.0.0.1", 22)])
    return message(0x0101, transaction, [xor])


def serve(connection, remote, how):
    with connection:
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if how == "close":
            return
        if how == "web":
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        number, read = 0, b""
        while octets := connection.recv(4096):
            read += octets
            while how not in ("silent", "web") and len(read) >= 20:
                length = 20 + struct.unpack("!H", read[2:4])[0]
                if len(read) < length:
                    break
                # An indication, which nobody answers.
                if read[:2] == b"\x00\x11":
                    print("indication", flush=True)
                    read = read[length:]
                    continue
                number += 1
                connection.sendall(answers(how, read[8:20], *remote[:2], number))
                read = read[length:]
                if how == "once":
                    return


def main():
    own, port, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    listener = socket.create_server((own, port))
    print("serving", flush=True)
    while True:
        connection, remote = listener.accept()
        threading.Thread(target=serve, args=(connection, remote, how), daemon=True).start()


main()
