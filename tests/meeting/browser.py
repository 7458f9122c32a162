"""A real browser opens the proxy's page, meets the peer of a code, says a line and shows the answer.

browser.py CODE SCREENSHOT; prints what the page shows, as JSON. WebDriver is spoken by hand:
https://www.w3.org/TR/webdriver2/
"""
import base64
import json
import subprocess
import sys
import tempfile
import time
import urllib.request

PORT, PAGE = 9515, "http://127.0.0.1:8080/"


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def within(seconds, find):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := find():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"not within {seconds} s: {find.__doc__ or find.__name__}")


def run(session, script):
    return ask("POST", f"{session}/execute/sync", {"script": script, "args": []})


def type_into(session, name, text):
    found = ask("POST", f"{session}/element", {"using": "css selector", "value": f"#{name}"})
    element = next(iter(found.values()))
    ask("POST", f"{session}/element/{element}/value", {"text": text + "\ue007"})


def visit(session):
    ask("POST", f"{session}/url", {"url": PAGE})
    type_into(session, "code", sys.argv[1])
    within(40, lambda: run(session, "return !document.getElementById('talk').hidden"))
    type_into(session, "line", "hello from a page")
    within(20, lambda: "HELLO" in run(session, "return document.getElementById('said').textContent"))
    shown = {
        name: run(session, f"return document.getElementById('{name}').innerText")
        for name in ["state", "states", "said"]
    }
    drawn = "return document.getElementById('ladder').naturalWidth"
    shown["ladder"] = within(10, lambda: run(session, drawn))
    with open(sys.argv[2], "wb") as file:
        file.write(base64.b64decode(ask("GET", f"{session}/screenshot")))
    # The page of anybody else.
    ask("POST", f"{session}/url", {"url": "data:text/html,<title>elsewhere</title>"})
    run(session, """
        const socket = new WebSocket('ws://127.0.0.1:8080/peer');
        socket.onopen = () => { document.title = 'open'; };
        socket.onerror = () => { document.title = 'refused'; };
    """)
    title = "return document.title"
    within(20, lambda: run(session, title) != "elsewhere")
    shown["elsewhere"] = run(session, title)
    return shown


with tempfile.TemporaryDirectory() as home:
    driver = subprocess.Popen(
        ["chromedriver", f"--port={PORT}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        within(30, lambda: ask("GET", "/status")["ready"])
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}"]
        options = {"goog:chromeOptions": {"args": arguments + ["--window-size=900,1000"]}}
        begun = ask("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        session = f"/session/{begun['sessionId']}"
        try:
            print(json.dumps(visit(session)))
        finally:
            ask("DELETE", session)
    finally:
        driver.kill()
        driver.wait()
