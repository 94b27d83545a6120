#!/usr/bin/env python3
"""Writes src/schema/v1_36.txt, the one committed table of what Kubernetes 1.36 serves.

Run by hand when the Kubernetes version changes; the build never runs it.

    generate.py REFERENCE > ../src/schema/v1_36.txt

REFERENCE holds swagger.json and discovery/.
"""

import json
import sys
from pathlib import Path

import kinds


def main():
    reference = Path(sys.argv[1])
    swagger = json.loads((reference / "swagger.json").read_text())
    print("# Facts of Kubernetes 1.36's API, written by generate/generate.py. Do not edit.")
    for row in kinds.rows(reference / "discovery", swagger):
        print(row)


main()
