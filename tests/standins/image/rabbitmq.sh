#!/bin/sh
# Start RabbitMQ with a user of this name and password, who may come from elsewhere.
set -eu
cat >/etc/rabbitmq/rabbitmq.conf <<END
default_user = $RABBITMQ_DEFAULT_USER
default_pass = $RABBITMQ_DEFAULT_PASS
loopback_users = none
log.console = true
END
exec rabbitmq-server
