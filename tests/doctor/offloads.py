"""Switches an interface's offloads: offloads.py INTERFACE 0|1 (linux/ethtool.h)."""
import ctypes
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
GRO, GSO, TSO = 0x2C, 0x24, 0x1F

name, on = sys.argv[1].encode(), int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    for command in (GRO, GSO, TSO):
        value = ctypes.create_string_buffer(struct.pack("II", command, on))
        request = struct.pack("16sP16x", name, ctypes.addressof(value))
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)
