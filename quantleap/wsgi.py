"""Entry point of the web processes: `gunicorn quantleap.wsgi:application`."""

from django.core.wsgi import get_wsgi_application

from quantleap.core.startup import refuse_to_start
from quantleap.settings.process import ProcessKind

refuse_to_start(ProcessKind.WEB)
application = get_wsgi_application()
