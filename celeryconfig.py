"""Celery's configuration: broker on the state server under `celery:`, queues by role, New York time, beat's schedule.

Read by alphatrader/runtime/celery_app.py. Everything is JSON, no result is kept, a task is acknowledged when it is done.
"""

import os
from urllib.parse import quote

from celery.schedules import crontab, schedule

from alphatrader.contract.modules import CELERY_WORKERS
from alphatrader.runtime.secrets import PASSWORD_VARIABLE
from alphatrader.runtime.settings import load

_settings = load()
_user = os.environ.get("ALPHATRADER_MODULE", "")
_password = quote(os.environ.get(PASSWORD_VARIABLE, ""), safe="")
_state = _settings.servers.state

broker_url = f"redis://{_user}:{_password}@{_state.host}:{_state.port}/0"
broker_transport_options = {
    "global_keyprefix": "celery:",
    "priority_steps": [0],
    "queue_order_strategy": "priority",
    # Each role sweeps its own unacknowledged messages: another role's would be refused by the server's users.
    "unacked_key": f"unacked.{_user}",
    "unacked_index_key": f"unacked_index.{_user}",
    "unacked_mutex_key": f"unacked_mutex.{_user}",
    # Countdown tasks only wake a durable queue, so a message lost with its worker may stay away this long.
    "visibility_timeout": 900,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "health_check_interval": 5,
}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
worker_cancel_long_running_tasks_on_connection_loss = True

accept_content = ["json"]
result_accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
result_backend = None
task_ignore_result = True
task_acks_late = True
task_reject_on_worker_lost = True
task_default_queue = "routines"
task_create_missing_queues = False
task_queues = {str(module): {"exchange": str(module), "routing_key": str(module)} for module in CELERY_WORKERS}
task_routes = {
    "options.*": {"queue": "pulls"},
    "sentiment.*": {"queue": "pulls"},
    "discovery.*": {"queue": "discovery"},
    "delivery.*": {"queue": "delivery"},
    "twitter.*": {"queue": "delivery"},
    "analysis.*": {"queue": "routines"},
    "routines.*": {"queue": "routines"},
}
task_publish_retry = True
task_publish_retry_policy = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
worker_prefetch_multiplier = 4
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_send_task_events = True
task_send_sent_event = True

timezone = "America/New_York"
enable_utc = True
beat_scheduler = "alphatrader.runtime.beat.Scheduler"
beat_max_loop_interval = 0.25
beat_cron_starting_deadline = 600
redbeat_redis_url = broker_url
redbeat_key_prefix = "celery:redbeat:"
redbeat_lock_timeout = 10
redbeat_redis_options: dict[str, str] = {}  # not those of the broker's transport, which it would warn of at each start


def _at(clock: str) -> crontab:
    hour, minute = clock.split(":")
    return crontab(hour=int(hour), minute=int(minute))


_routines = _settings.routines
beat_schedule = {
    "options": {"task": "options.pull_all", "schedule": schedule(_settings.options.refresh_seconds)},
    "sentiment": {"task": "sentiment.pull_all", "schedule": schedule(_settings.options.sentiment_refresh_seconds)},
    "discovery-ensure": {"task": "discovery.ensure", "schedule": schedule(60.0)},
    "discovery-nightly": {"task": "discovery.run", "schedule": crontab(hour=_settings.discovery.hour, minute=0)},
    "discovery-republish": {"task": "discovery.republish", "schedule": crontab(minute=30)},
    "morning-note": {"task": "analysis.morning", "schedule": schedule(60.0)},
    "delivery-sweep": {"task": "delivery.sweep", "schedule": schedule(5.0)},
    "twitter-sweep": {"task": "twitter.sweep", "schedule": schedule(60.0)},
    "routine-morning": {"task": "routines.run", "args": ["morning"], "schedule": _at(_routines.morning)},
    "routine-open": {"task": "routines.run", "args": ["open"], "schedule": _at(_routines.open)},
    "routine-midday": {"task": "routines.run", "args": ["midday"], "schedule": _at(_routines.midday)},
    "routine-close": {"task": "routines.run", "args": ["close"], "schedule": _at(_routines.close)},
    "routine-evening": {"task": "routines.run", "args": ["evening"], "schedule": _at(_routines.evening)},
}
