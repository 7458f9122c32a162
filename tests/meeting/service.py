"""A service on 127.0.0.1:8000 that answers each connection in capitals, line by line."""
import socketserver


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", 8000), Shout) as server:
    print("serving", flush=True)
    server.serve_forever()
