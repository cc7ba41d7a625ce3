/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The work of one station. It runs in a thread, and touches nothing but the station. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "nat-bridge/payload.h"
#include "verify.h"

#define CONNECT_MS  2500 /* a SYN is sent again after a second */
#define DATAGRAM_MS 400
#define RAW_MS	    600
#define RAW_MOST    10000

void nb_station_open(struct nb_station *station)
{
	struct nb_error *err = &station->error;

	station->nl = nb_netlink_new();
	if (!station->nl) {
		station->result = nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory",
					       "out of memory");
		return;
	}
	if (station->bridge[0])
		station->result = nb_probe_join_beside(station->nl, station->bridge, station->avoid,
						       station->avoid_count, &station->place, err);
	else
		station->result = nb_probe_new_network(station->nl, &station->place, err);
	if (station->result == 0)
		station->result = nb_probe_listen(station->place, &station->ear, err);
}

void nb_station_close(struct nb_station *station)
{
	nb_probe_deafen(station->ear);
	nb_probe_leave(station->place);
	nb_netlink_free(station->nl);
	free(station->avoid);
	free(station->shots);
}

/* With --payload: what is in @payloads for that dialect, which outlives the probe. */
static void set_payload(const struct nb_station *station, const struct nb_shot *shot,
			char payloads[][NB_PAYLOAD_SIZE], struct nb_probe *probe)
{
	const struct nb_stored *stored = nb_verify_mapping(station->verify, shot->mapping);
	enum nb_dialect dialect = shot->protocol == IPPROTO_UDP
					  ? nb_payload_dialect(shot->protocol,
							       stored->mapping.target.port, "")
					  : NB_DIALECT_NONE;

	if (!station->verify->run->options.payload)
		return;
	/* what it speaks nobody asks here: any service may say of a line what it likes */
	if (dialect == NB_DIALECT_NONE)
		dialect = NB_DIALECT_LINE;
	probe->payload = payloads[dialect];
	probe->length = nb_payload_write(dialect, "", payloads[dialect]);
}

/* From inside: by ordinary sockets. */
static int dial(struct nb_station *station, uint8_t protocol, int timeout)
{
	struct nb_probe *probes = calloc(station->count + 1, sizeof(*probes));
	char payloads[NB_DIALECT_COUNT][NB_PAYLOAD_SIZE];
	size_t *of = calloc(station->count + 1, sizeof(*of));
	size_t count = 0;
	int r = -ENOMEM;

	for (size_t i = 0; probes && of && i < station->count; i++) {
		const struct nb_shot *shot = &station->shots[i];

		if (shot->from != NB_FROM_NETWORK || shot->protocol != protocol)
			continue;
		probes[count] = (struct nb_probe){
			.protocol = protocol,
			.address = shot->address,
			.port = shot->port,
		};
		set_payload(station, shot, payloads, &probes[count]);
		of[count++] = i;
	}
	if (probes && of)
		r = count ? nb_probe_run(station->place, probes, count, timeout, &station->error)
			  : 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct nb_shot *shot = &station->shots[of[i]];

		shot->result = probes[i].result;
		shot->source_port = probes[i].source_port;
		shot->spoke = probes[i].spoke;
	}
	free(probes);
	free(of);
	return r;
}

static int compare_arrival(const void *key, const void *item)
{
	const struct nb_shot *shot = key;
	const struct nb_arrival *arrival = item;

	if (shot->protocol != arrival->protocol)
		return shot->protocol < arrival->protocol ? -1 : 1;
	return (shot->source_port > arrival->source_port) -
	       (shot->source_port < arrival->source_port);
}

/* Which of the shots came to this host's sockets? */
static int listen_for(struct nb_station *station, struct nb_shot **shots, size_t count)
{
	struct nb_arrival *heard;
	size_t heard_count;

	if (!nb_probe_heard(station->ear, &heard, &heard_count))
		return -ENOMEM;
	for (size_t i = 0; heard_count && i < count; i++) {
		const struct nb_arrival *arrival = bsearch(shots[i], heard, heard_count,
							   sizeof(*heard), compare_arrival);

		if (!arrival)
			continue;
		shots[i]->heard = true;
		shots[i]->heard_address = arrival->address;
		shots[i]->heard_port = arrival->port;
	}
	free(heard);
	return 0;
}

static int throw_some(struct nb_station *station, struct nb_shot **shots, size_t count)
{
	struct nb_raw_probe *probes = calloc(count + 1, sizeof(*probes));
	int r;

	if (!probes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		probes[i] = (struct nb_raw_probe){
			.protocol = shots[i]->protocol,
			.address = shots[i]->address,
			.port = shots[i]->port,
		};
	r = nb_probe_raw(station->place, probes, count, RAW_MS, &station->error);
	for (size_t i = 0; r == 0 && i < count; i++) {
		shots[i]->result = probes[i].result;
		shots[i]->source_port = probes[i].source_port;
	}
	free(probes);
	return r < 0 ? r : listen_for(station, shots, count);
}

/*
 * What has to be closed is asked by frames of our own: thousands of them are one moment's wait, and
 * no service ever sees a connection.
 */
static int throw_all(struct nb_station *station, struct nb_shot **shots)
{
	size_t count = 0;
	int r = 0;

	for (size_t i = 0; i < station->count; i++)
		if (station->shots[i].from != NB_FROM_NETWORK)
			shots[count++] = &station->shots[i];
	for (size_t i = 0; r == 0 && i < count; i += RAW_MOST)
		r = throw_some(station, shots + i, count - i < RAW_MOST ? count - i : RAW_MOST);
	return r;
}

void nb_station_fire(struct nb_station *station)
{
	struct nb_shot **shots = calloc(station->count + 1, sizeof(struct nb_shot *));
	size_t count = 0;
	int r;

	if (station->result < 0) {
		free(shots);
		return;
	}
	r = shots ? dial(station, IPPROTO_TCP, CONNECT_MS) : -ENOMEM;
	if (r == 0)
		r = dial(station, IPPROTO_UDP, DATAGRAM_MS);
	for (size_t i = 0; r == 0 && i < station->count; i++)
		if (station->shots[i].from == NB_FROM_NETWORK)
			shots[count++] = &station->shots[i];
	if (r == 0)
		r = listen_for(station, shots, count);
	if (r == 0)
		r = throw_all(station, shots);
	if (r == -ENOMEM)
		nb_error_set(&station->error, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	station->result = r;
	free(shots);
}
