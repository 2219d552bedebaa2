#!/usr/bin/env python3
"""The interactive chat: lines from a pipe, and a person at a terminal (a pseudo-terminal)."""
import json
import os
import pty
import re
import select
import signal
import sys
import termios
import time
import unittest

import program
from program import LLLM, PATIENCE, run


class WithChatModel(program.TemporaryFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        plain = program.import_stories(cls.folder, name="plain.gguf")
        cls.model = cls.folder / "chat.gguf"
        program.add_template(plain, cls.model)


class Piped(WithChatModel):
    """--interactive with standard input from a pipe: plain lines in, answers out."""

    def chat(self, *lines, options=()):
        return run("run", self.model, "--interactive", "--temp", "0", "--max-tokens", "8", *options,
                   stdin="".join(line + "\n" for line in lines), home=self.folder / "home")

    def test_the_file_has_the_template(self):
        shown = run("show", self.model, "--template").stdout
        self.assertEqual(shown.rstrip("\n"), program.TEMPLATE)
        shown = json.loads(run("show", self.model, "--template", "--json").stdout)
        self.assertEqual(shown, {"template": program.TEMPLATE})

    def test_turns_are_remembered_and_saved(self):
        saved, text = self.folder / "talk.json", self.folder / "talk.txt"
        done = self.chat("The cat sat.", "", "Then what?", f"/save {saved}", f"/save {text}",
                         "/exit", "not read")
        self.assertEqual(done.returncode, 0, done.stderr)
        talk = json.loads(saved.read_text(encoding="utf-8"))
        self.assertEqual([m["role"] for m in talk["messages"]], ["user", "assistant"] * 2)
        self.assertEqual([m["content"] for m in talk["messages"]][::2],
                         ["The cat sat.", "Then what?"])
        answers = [m["content"] for m in talk["messages"]][1::2]
        self.assertTrue(all(answers))
        self.assertEqual(done.stdout, "".join(a if a.endswith("\n") else a + "\n" for a in answers))
        self.assertTrue(text.read_text(encoding="utf-8")
                        .startswith("user:\nThe cat sat.\n\nassistant:\n"))

    def test_the_second_turn_reuses_the_first(self):
        done = self.chat("The cat sat.", "Then what?", options=["-v"])
        figures = re.findall(r"(\d+) prompt tokens(?: \((\d+) reused\))?", done.stderr)
        self.assertEqual(len(figures), 2)
        self.assertEqual(figures[0][1], "")
        self.assertGreaterEqual(int(figures[1][1]), int(figures[0][0]))

    def test_one_answer_is_the_answer_of_a_first_turn(self):
        once = run("run", self.model, "The cat sat.", "--temp", "0", "--max-tokens", "8", "--quiet")
        self.assertEqual(once.returncode, 0, once.stderr)
        self.assertEqual(self.chat("The cat sat.").stdout.rstrip("\n"), once.stdout.rstrip("\n"))
        first = self.chat(options=["-p", "The cat sat."])
        self.assertEqual(first.stdout.rstrip("\n"), once.stdout.rstrip("\n"))

    def test_clear_and_system(self):
        one = self.chat("The cat sat.").stdout
        self.assertEqual(self.chat("The cat sat.", "/clear", "The cat sat.").stdout, one * 2)
        saved = self.folder / "system.json"
        self.chat("Hello", "/system  Be brief. ", f"/save {saved}",
                  options=["--system", "Be long."])
        self.assertEqual(json.loads(saved.read_text())["messages"],
                         [{"role": "system", "content": "Be brief."}])
        before = saved.read_text()
        done = self.chat("/system", f"/save {saved}", options=["--system", "Be long."])
        self.assertIn(f"there already; /save -f {saved} replaces it", done.stderr)
        self.assertEqual(saved.read_text(), before)
        self.chat("/system", f"/save -f {saved}", f"/save {saved}", options=["--system", "Be long."])
        self.assertEqual(json.loads(saved.read_text())["messages"], [])

    def test_system_changes_the_answer_of_run(self):
        how = ["--temp", "0", "--max-tokens", "30", "--quiet"]
        plain = run("run", self.model, "The cat sat.", *how).stdout
        told = run("run", self.model, "The cat sat.", *how, "--system", "Lily was sad.").stdout
        self.assertNotEqual(plain, told)

    def test_commands_that_fail_are_sentences(self):
        for line in ("/save -f", "/save -f "):
            self.assertIn("/save needs a file", self.chat(line).stderr)
            self.assertFalse(os.path.exists("-f"))
        for line in ("/save /", "/save -f /"):
            self.assertEqual(self.chat(line).stderr, "lllm: / is a folder; /save needs a file\n")
        done = self.chat("/clera", "/nonsense", "/save", "/save /no/such/folder/x.json", "/help")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        lines = done.stderr.splitlines()
        self.assertIn("did you mean /clear?", lines[0])
        self.assertNotIn("did you mean", lines[1])
        self.assertTrue(all(line.startswith("lllm: ") for line in lines[:4]))
        self.assertIn("Each line is a message", done.stderr)  # nobody edits lines here
        for name in ("/help", "/clear", "/save", "/system", "/exit"):
            self.assertRegex(done.stderr, rf"(?m)^  {name} ")

    def test_notes_and_leading_blanks(self):
        saved = self.folder / "one.txt"
        done = self.chat(" /clear", f"\t/save {saved}", options=["--system", "Be brief."])
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertEqual(done.stderr, f"a new conversation\nsaved 1 message to {saved}\n")

    def test_message_that_is_too_long(self):
        for options in ([], ["--system", "x"]):
            done = self.chat("the cat " * 100, options=["--context-size", "64", *options])
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"\Alllm: [^\n]* 64 tokens; shorten it [^\n]*\n\Z")

    def test_full_context(self):
        small = ["--context-size", "64"]
        done = self.chat("one", "the cat " * 100, "/clear", "one", options=small)
        self.assertEqual(done.stdout, self.chat("one", options=small).stdout * 2)
        self.assertRegex(done.stderr, r"(?m)^lllm: [^\n]*/clear")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.chat("one", options=small).returncode, 0)
        done = self.chat("one", options=["--context-size", "32", "--max-tokens", "0"])
        self.assertRegex(done.stderr, r"(?m)^lllm: [^\n]*32 tokens; /clear")

    def test_tools_file(self):
        tools = self.folder / "tools.json"
        for text, status in (('[{"type":"function","function":{"name":"f"}}]', 0),
                             ('{"tools":[]}', 0), ("{}", 1), ("[", 1)):
            tools.write_text(text)
            done = run("run", self.model, "x", "--max-tokens", "1", "--quiet", "--tools", tools)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stderr.count("\n"), status)
            done = run("run", self.model, "x", "--max-tokens", "1", "--quiet", "--tools", "-",
                       stdin=text)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertTrue(not status or "standard input" in done.stderr, done.stderr)


class Terminal:
    """The program on a pseudo-terminal, read with a deadline."""

    def __init__(self, *arguments, environment):
        self.seen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.update(environment)
            os.execv(LLLM, [LLLM, *map(str, arguments)])

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, text, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            ready = select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]
            if not ready:
                raise AssertionError(f"waited for {text!r}, saw {self.seen!r}")
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # the other side has closed
                raise AssertionError(f"ended before {text!r}, saw {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before

    def wait_for_end(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.master)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(f"it did not end; saw {self.seen!r}")


@unittest.skipUnless(sys.platform.startswith(("linux", "darwin")), "needs pseudo-terminals")
class AtTheTerminal(WithChatModel):
    def start(self, *options):
        return Terminal("run", self.model, "--temp", "0", "--ignore-eos", "--context-size", "20000",
                        *options,
                        environment={"LLLM_HOME": str(self.folder / "home"), "TERM": "xterm",
                                     "NO_COLOR": "1", "LC_ALL": "C.UTF-8"})

    def test_answers_and_ctrl_d(self):
        t = self.start("--max-tokens", "4")
        t.wait_for(">>> ")
        t.type("The cat sat.\r")
        t.wait_for(">>> ")
        t.type("\x04")
        self.assertEqual(t.wait_for_end(), 0)

    def test_leaving_is_no_failure(self):
        t = self.start("-i", "-p", "the cat " * 100, "--context-size", "64")
        t.wait_for("shorten it")
        t.wait_for(">>> ")
        t.type("/save /no/such/folder/x\r")
        t.wait_for("lllm:")
        t.wait_for(">>> ")
        t.type("/exit\r")
        self.assertEqual(t.wait_for_end(), 0)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        t = self.start()
        t.wait_for(">>> ")
        t.type("The cat sat.\r")
        t.wait_for("\n")
        t.wait_for("the")
        t.type("\x03")
        t.wait_for(">>> ")
        t.type("/exit\r")
        self.assertEqual(t.wait_for_end(), 0)

    def test_ctrl_c_at_the_prompt(self):
        t = self.start()
        t.wait_for(">>> ")
        t.type("half a line")
        t.wait_for("line")
        t.type("\x03")
        t.wait_for(">>> ")
        t.type("\x03")
        t.wait_for("Ctrl-C again")
        t.wait_for(">>> ")
        t.type("\x03")
        self.assertEqual(t.wait_for_end(), 0)

    def test_stopped_and_continued(self):
        """As by Ctrl-Z and fg, between which a shell sets up the terminal for itself."""
        t = self.start("--max-tokens", "4")
        t.wait_for(">>> ")
        t.type("/nonse")
        t.wait_for("/nonse")
        had = termios.tcgetattr(t.master)
        for _ in range(4):  # any thread may be told
            os.kill(t.pid, signal.SIGSTOP)
            os.waitpid(t.pid, os.WUNTRACED)
            shell = termios.tcgetattr(t.master)
            shell[3] |= termios.ECHO | termios.ICANON
            termios.tcsetattr(t.master, termios.TCSANOW, shell)
            os.kill(t.pid, signal.SIGCONT)
            t.wait_for(">>> ")
            if not had[3] & termios.ICANON:  # not of a build without libedit
                t.wait_for("/nonse")
                self.assertEqual(termios.tcgetattr(t.master)[3], had[3])
        t.type("nse\r")
        t.wait_for("there is no command /nonsense")
        t.wait_for(">>> ")
        t.type("\x04")
        self.assertEqual(t.wait_for_end(), 0)

    def test_history(self):
        home = self.folder / "home"
        t = self.start()
        t.wait_for(">>> ")
        t.type("/nonsense-é\r")
        t.wait_for("there is no command")
        t.wait_for(">>> ")
        t.type("/exit\r")
        self.assertEqual(t.wait_for_end(), 0)
        history = home / "history"
        if not history.exists():
            self.skipTest("this build has no libedit")
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)
        t = self.start()
        t.wait_for(">>> ")
        t.type("\x1b[A\x1b[A\r")
        t.wait_for("there is no command /nonsense-é")
        t.wait_for(">>> ")
        t.type("\x04")
        self.assertEqual(t.wait_for_end(), 0)

    def test_a_paste_is_one_message(self):
        """Between the marks of bracketed paste line ends are text; Return sends it."""
        saved = self.folder / "pasted.json"
        t = self.start("--max-tokens", "4")
        before = t.wait_for(">>> ")
        if "\x1b[?2004h" not in before:
            t.type("/exit\r")
            t.wait_for_end()
            self.skipTest("this build has no libedit")

        def say(text):
            t.type(text + "\r")
            t.wait_for("\x1b[?2004l")  # the answer may have marks of its own in it
            t.wait_for("\x1b[?2004h")
            t.wait_for(">>> ")

        def paste(text):
            return f"\x1b[200~{text}\x1b[201~"

        say("See: " + paste("one\rtwo\nthree\r\r  four\té\r") + paste("five\x07\x1b[31m\r\r"))
        say(paste("/etc/hosts is what?\ra second line"))  # a command is one line
        say(paste("\r\r"))  # nothing
        say(paste(""))
        say(paste("half a mark\x1b[20"))
        say("x" + paste("long\r" * 400) + "y")
        t.type("\x1b[200~half of a")
        time.sleep(0.2)
        t.type("\x03")
        t.wait_for(">>> ")
        say("plain")
        say(f"/save {saved}")
        t.type("/exit\r")
        self.assertEqual(t.wait_for_end(), 0)
        said = [m["content"] for m in json.loads(saved.read_text(encoding="utf-8"))["messages"]]
        self.assertEqual(said[::2], ["See: one\ntwo\nthree\n\n  four\té\nfive[31m",
                                     "/etc/hosts is what?\na second line", "half a mark[20",
                                     "x" + "long\n" * 400 + "y", "plain"])

        # The history has a message as it was, with its lines.
        saved.unlink()
        t = self.start("--max-tokens", "4")
        t.wait_for(">>> ")
        say(paste("first\rsecond"))
        say("/clear")
        t.type("/exit\r")
        t.wait_for_end()
        t = self.start("--max-tokens", "4")
        t.wait_for(">>> ")
        say("\x1b[A\x1b[A\x1b[A")
        say(f"/save {saved}")
        t.type("/exit\r")
        t.wait_for_end()
        said = [m["content"] for m in json.loads(saved.read_text(encoding="utf-8"))["messages"]]
        self.assertEqual(said[0], "first\nsecond")

    def test_control_sequences_stay_out(self):
        t = Terminal("tokenize", self.model, "\x1b]0;title\x07", environment={"NO_COLOR": "1"})
        t.wait_for("\"")
        t.wait_for_end()
        self.assertNotIn("\x1b", t.seen)

    def test_a_file_name_drives_no_terminal(self):
        model = self.folder / "a\u009b31mb\x1b[2J.gguf"
        os.symlink(self.model, model)
        t = Terminal("run", "-m", model, environment={"NO_COLOR": "1", "TERM": "dumb",
                                                      "LLLM_HOME": str(self.folder / "home")})
        name = t.wait_for(": /help")
        t.wait_for(">>> ")
        t.type("\x04")
        t.wait_for_end()
        self.assertRegex(name, r"\A[^\x00-\x1f\x7f-\x9f]+\Z")


if __name__ == "__main__":
    unittest.main(verbosity=2)
