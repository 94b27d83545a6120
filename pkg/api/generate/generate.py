#!/usr/bin/env python3
"""Writes src/schema/v1_36.txt, the one committed table of what Kubernetes 1.36 serves.

Run by hand when the Kubernetes version changes; the build never runs it.

    generate.py REFERENCE STAGING > ../src/schema/v1_36.txt

REFERENCE holds swagger.json and discovery/. STAGING is the folder of Kubernetes' Go sources that holds
k8s.io/api, k8s.io/apimachinery, ... (staging/src of a checkout).
"""

import json
import sys
from pathlib import Path

import kinds
from golang import Source
from types_table import Types, roots


def main():
    reference, staging = Path(sys.argv[1]), Path(sys.argv[2])
    swagger = json.loads((reference / "swagger.json").read_text())
    kind_rows = list(kinds.rows(reference / "discovery", swagger))
    types = Types(swagger, Source(staging))
    print("# Facts of Kubernetes 1.36's API, written by generate/generate.py. Do not edit.")
    for row in kind_rows:
        print(row)
    for row in types.rows(roots(kind_rows, types.definitions)):
        print(row)


main()
