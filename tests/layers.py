#!/usr/bin/env python3
"""No module includes one of its own row or above (see docs/architecture.md)."""
import pathlib
import re
import sys

ROWS = [["base"], ["quant"], ["gguf", "kernels"], ["tokenizer", "chat"], ["model", "grammar"],
        ["engine", "train", "hf", "quantize"], ["provider", "hub"], ["route"], ["agent", "eval", "bench"], ["cli", "server"]]
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent / "src"
    wrong = []
    for path in sorted(root.rglob("*.[ch]")):
        module = path.relative_to(root).parts[0]
        if module not in ROW_OF:
            wrong.append(f"{path.relative_to(root)}: module {module} has no row in tests/layers.py")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([a-z_]+)/', line)
            if not match or match[1] == module:
                continue
            if match[1] in ROW_OF and ROW_OF[match[1]] >= ROW_OF[module]:
                wrong.append(f"{path.relative_to(root)}:{number}: {module} includes {match[1]}")
    print("\n".join(wrong) if wrong else "layers hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
