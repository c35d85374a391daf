"""`kit upload`, and `python upload_kaggle_dataset.py`: the built dataset to Kaggle."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from kit.commands.endings import end_as_by_ctrl_c
from kit.commands.progress import upload_progress
from kit.kaggle.dataset.handle import DEFAULT_NOTES, DEFAULT_SLUG, NOBODY, DatasetHandle
from kit.kaggle.facts import LICENCES, SITE
from kit.kaggle.upload.account import owner
from kit.kaggle.upload.plan import DEFAULT_READY_S, RetryPolicy


def add(commands: Any) -> None:
    """Declare the command."""
    upload = commands.add_parser(
        "upload",
        help="upload the built dataset to Kaggle, and wait until it is ready and whole",
        description="Upload the built dataset with the kaggle client, and wait until it is ready and whole. Creates "
        "it, or adds a version if it is there; run again after an interruption, it goes on.",
    )
    upload.add_argument(
        "--username",
        metavar="NAME",
        help="whose it is to be, yours or an organisation's (default: the credentials' own)",
    )  # fmt: skip
    upload.add_argument("--dataset", type=Path, default=Path("out/dataset"), metavar="DIR", help="default: %(default)s")
    upload.add_argument("--slug", default=DEFAULT_SLUG, help="its name in addresses (default: %(default)s)")
    upload.add_argument("--title", help="6 to 50 characters (default: the slug's words)")
    upload.add_argument(
        "--licence", default="other", choices=LICENCES, metavar="NAME",
        help="as Kaggle names them, for example apache-2.0 or CC-BY-4.0 (default: %(default)s)",
    )  # fmt: skip
    upload.add_argument("--notes", default=DEFAULT_NOTES, metavar="TEXT", help="notes of a new version")
    upload.add_argument("--public", action="store_true", help="make a new dataset public (default: private)")
    upload.add_argument("--no-upload", action="store_true", help="write one archive for uploading by hand")
    upload.add_argument("--fresh", action="store_true", help="forget an interrupted run and send everything")
    upload.add_argument(
        "--ready-within", type=float, default=DEFAULT_READY_S / 60, metavar="MIN",
        help="minutes to wait for Kaggle's processing (default: %(default).0f)",
    )  # fmt: skip
    upload.set_defaults(run=upload_command)


def upload_command(args: argparse.Namespace) -> int:
    """`kit upload`: send it, or write the archive for sending it by hand. Raises: what `upload` raises."""
    handle = DatasetHandle(
        owner=(args.username or NOBODY) if args.no_upload else owner(args.username, environ=os.environ),
        slug=args.slug,
        title=args.title,
        licence=args.licence,
        is_public=args.public,
        notes=args.notes,
    )
    return _archive(args.dataset, handle) if args.no_upload else _send(args, handle)


def _send(args: argparse.Namespace, handle: DatasetHandle) -> int:
    from kit.kaggle.upload.sending import upload

    retry_policy = RetryPolicy(ready_s=args.ready_within * 60)
    end_as_by_ctrl_c()  # the client is ended, the sessions stay
    with upload_progress() as on_event:
        done = upload(
            args.dataset,
            handle,
            environ=os.environ,
            is_fresh=args.fresh,
            retry_policy=retry_policy,
            on_event=on_event,
        )
    print(f"ready: {done.num_files} files, {done.size_bytes:,} bytes, as Kaggle lists them: {done.url}")
    return 0


def _archive(dataset: Path, handle: DatasetHandle) -> int:
    from kit.kaggle.upload.archive import archive

    with upload_progress() as on_event:
        done = archive(dataset, handle, environ=os.environ, on_event=on_event)
    print(
        f"{done.path}: {done.num_files} files, {done.size_bytes:,} bytes. Upload it by hand:\n"
        f"  1. open {SITE}/datasets/new (for a new version: the dataset's page, New Version)\n"
        f"  2. drop {done.path.name} there; Kaggle unpacks it\n"
        f"  3. title {handle.metadata['title']!r}, "
        f"{'public' if handle.is_public else 'private'}, address {handle.ref}; Create\n"
        "  4. wait until the page no longer says that it is processing, then attach it to the notebook"
    )
    return 0
