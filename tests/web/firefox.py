"""A headless Firefox by its own WebDriver BiDi: Debian has no geckodriver, which Selenium would need."""

import itertools
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 60
DEAD_PORT = 9  # of this machine; Firefox goes past proxies to this machine itself
PREFERENCES = {
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": DEAD_PORT,
    "network.proxy.socks_remote_dns": True,
}


class Firefox:
    """A tab of a Firefox that reaches this machine alone, by the methods of Selenium's that the tests use.

    Args:
        program: of Firefox.
        profile: an empty folder for it.
    """

    def __init__(self, program: str, profile: Path) -> None:
        from websocket import create_connection

        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("".join(lines))
        command = [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self._socket = create_connection(f"{self._address()}/session", TIMEOUT_SECONDS, suppress_origin=True)
            self._numbers, self._log = itertools.count(), []
            self._send("session.new", capabilities={})
            self._send("session.subscribe", events=["log.entryAdded"])
            self._tab = self._send("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self._process.kill()
            raise

    def get(self, url: str) -> None:
        """Open an address."""
        self._send("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def execute_script(self, script: str) -> Any:
        """What the body of a function returns; plain values alone."""
        expression = f"JSON.stringify((() => {{{script}\n}})() ?? null)"
        answer = self._send("script.evaluate", expression=expression, target={"context": self._tab}, awaitPromise=False)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{answer['exceptionDetails']['text']} in {script}")
        return json.loads(answer["result"]["value"])

    def get_log(self, kind: str) -> list[dict[str, str]]:
        """What the page has said since the last call, errors as "SEVERE"."""
        assert kind == "browser", "there is no other log here"
        self._send("session.status")  # what was said before has come then
        log, self._log = self._log, []
        return [{"level": entry["level"].replace("error", "SEVERE"), "message": entry["text"]} for entry in log]

    def quit(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(TIMEOUT_SECONDS)

    def _address(self) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                # Whatever else it says must be read, or it would wait for that.
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                return found[1]
        raise AssertionError("Firefox has ended without a word about WebDriver BiDi")

    def _send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "log.entryAdded":
                self._log.append(message["params"])
            elif message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]
