"""`alphatrader keys`: the contract as a table, Markdown, JSON, a Graphviz graph, or a module's ACL rules."""

from __future__ import annotations

import argparse

from alphatrader.commands import DONE
from alphatrader.commands.access import print_json, say, show
from alphatrader.contract import render
from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module


def arguments(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="docs/keys.md")
    form.add_argument("--graph", action="store_true", help="the flow as a Graphviz digraph")
    form.add_argument("--acl", metavar="MODULE", choices=list(map(str, Module)), help="the rules of a module's users")


def run(args: argparse.Namespace) -> int:
    if args.json:
        print_json(render.as_rows())
    elif args.markdown:
        say(render.as_markdown())
    elif args.graph:
        say(render.as_graph())
    elif args.acl:
        for server in Server:
            say(f"{server}: {render.acl_rules(Module(args.acl), server)}")
    else:
        rows = ((row["pattern"], row["kind"], row["ttl"], row["writer"], row["about"]) for row in render.as_rows())
        show("Key", "Kind", "TTL", "Writer", "What it is", rows=rows)
    return DONE
