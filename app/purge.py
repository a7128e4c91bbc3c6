"""``python -m app cache``: deletes what is kept in Redis."""

from __future__ import annotations

import argparse
from itertools import islice
from typing import TYPE_CHECKING

from app.errors import SettingsError
from app.serving.cache import KEY_PREFIX
from app.settings import load_settings

if TYPE_CHECKING:
    import redis

_KEYS_A_COMMAND = 1_000
_SECONDS_A_COMMAND = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cache``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    purge = actions.add_parser("purge", help="delete the results of all models from Redis; other keys stay")
    purge.add_argument("--redis-url", help="server (default: $SENTIMENT_REDIS_URL)")


def run(options: argparse.Namespace) -> int:
    """Delete every cached result, a batch at a time. A service that runs goes on, and fills the cache again."""
    import redis  # needed by this command alone, and slow to import

    given = {} if options.redis_url is None else {"redis_url": options.redis_url}
    url = load_settings(given).redis_url
    if url is None:
        raise SettingsError("no Redis to purge: give --redis-url, or set its variable as for serve")
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_SECONDS_A_COMMAND, socket_connect_timeout=_SECONDS_A_COMMAND
        ) as client:
            deleted = _purge(client)
    except (redis.RedisError, OSError) as error:
        raise SettingsError(f"the server of SENTIMENT_REDIS_URL cannot be purged: {error}") from error
    except (TypeError, ValueError) as error:
        raise SettingsError("SENTIMENT_REDIS_URL: cannot be read as a URL of Redis") from error
    print(f"deleted {deleted} results")
    return 0


def _purge(client: redis.Redis) -> int:
    keys, deleted = client.scan_iter(match=f"{KEY_PREFIX}*", count=_KEYS_A_COMMAND), 0
    while some := list(islice(keys, _KEYS_A_COMMAND)):
        deleted += client.unlink(*some)
    return deleted
