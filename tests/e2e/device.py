"""A device by Eclipse Paho's client: publishes over TLS as its arguments say, and waits until all
is acknowledged. Says nothing; ends with 1 and a reason when something is refused."""

import json
import os
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

wanted = json.loads(sys.argv[1])
version = mqtt.MQTTv5 if wanted["version"] == 5 else mqtt.MQTTv311
client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2, client_id=wanted["client"], protocol=version
)
if "ca" in wanted:
    client.tls_set(
        ca_certs=wanted["ca"],
        certfile=wanted.get("certificate"),
        keyfile=wanted.get("key"),
        tls_version=ssl.PROTOCOL_TLS_CLIENT,
    )
if "user" in wanted:
    client.username_pw_set(wanted["user"], wanted["password"])
if "will" in wanted:
    client.will_set("plant/will", wanted["will"], qos=1)

refused = []
answered = threading.Event()


def on_connect(_client, _data, _flags, reason, _properties):
    if reason.is_failure:
        refused.append(f"connect: {reason}")
    answered.set()


def on_publish(_client, _data, _id, reason, _properties):
    if reason.is_failure:
        refused.append(f"publish: {reason}")


client.on_connect = on_connect
client.on_publish = on_publish
client.connect("127.0.0.1", wanted["port"], keepalive=30)
client.loop_start()
if not answered.wait(20):
    refused.append("connect: no answer")
if refused:
    sys.exit(refused[0])
properties = None
if version == mqtt.MQTTv5:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("a", "2"), ("c", "3")]
    properties.ContentType = "text/plain"
    properties.PayloadFormatIndicator = 1
    properties.ResponseTopic = "plant/answer"
    properties.CorrelationData = b"334"
for qos in wanted["qos"]:
    payload = f"{wanted['client']} {qos}"
    message = client.publish(wanted["topic"], payload, qos=qos, properties=properties)
    try:
        message.wait_for_publish(timeout=20)
    except RuntimeError as error:
        refused.append(str(error))
    if not message.is_published():
        refused.append(f"QoS {qos} was not acknowledged")
if refused:
    sys.exit("; ".join(refused))
if "will" in wanted:
    # As a device that loses its power: nothing is said.
    os._exit(0)
client.disconnect()
client.loop_stop()
