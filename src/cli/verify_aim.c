/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is sent from each station: which ports of which addresses. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

#define LOCALHOST UINT32_C(0x7f000001)
/* Beyond that, looking whether a frame is sent already takes longer than to send it again. */
#define DEDUPE_MOST 2000

static bool is_sent(const struct nb_station *station, const struct nb_shot *shot)
{
	for (size_t i = 0; i < station->count; i++) {
		const struct nb_shot *other = &station->shots[i];

		if (other->from == shot->from && other->protocol == shot->protocol &&
		    other->address == shot->address && other->port == shot->port &&
		    other->mapping == shot->mapping)
			return true;
	}
	return false;
}

static int aim(struct nb_station *station, enum nb_verify_from from, size_t mapping,
	       uint8_t protocol, uint32_t address, uint16_t port)
{
	const struct nb_shot shot = {
		.from = from,
		.mapping = mapping,
		.protocol = protocol,
		.address = address,
		.port = port,
	};

	if (station->count < DEDUPE_MOST && is_sent(station, &shot))
		return 0;
	if (station->count == station->capacity) {
		size_t capacity = station->capacity ? 2 * station->capacity : 256;
		struct nb_shot *grown = realloc(station->shots, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		station->shots = grown;
		station->capacity = capacity;
	}
	station->shots[station->count++] = shot;
	return 0;
}

/* Has that bridge a mapping of its own there? */
static bool maps(const struct nb_verify *verify, const struct nb_station *station, uint8_t protocol,
		 uint16_t port)
{
	struct nb_element key = { .protocol = protocol, .port = port };

	strcpy(key.bridge, station->bridge);
	return nb_element_find(&verify->view.state.targets, &key) != NULL;
}

/* Neither the port dialled nor the service's own. */
static int aim_at_address(const struct nb_verify *verify, struct nb_station *station, size_t i,
			  uint32_t address)
{
	const struct nb_mapping *mapping = &nb_verify_mapping(verify, i)->mapping;
	const uint16_t ports[] = { mapping->port, mapping->target.port };
	int r = 0;

	for (size_t p = 0; r == 0 && address && p < 2; p++)
		if (!maps(verify, station, mapping->protocol, ports[p]))
			r = aim(station, station->bridge[0] ? NB_FROM_OTHER : NB_FROM_LAN, i,
				mapping->protocol, address, ports[p]);
	return r;
}

/* From elsewhere, on any address that a peer there may dial: frames to 127.0.0.0/8 are apart. */
static int aim_from_elsewhere(const struct nb_verify *verify, struct nb_station *station, size_t i)
{
	const struct nb_link *home = nb_verify_mapping(verify, i)->link;
	const struct nb_address *addresses = verify->addresses.items;
	int r = aim_at_address(verify, station, i, nb_probe_gateway(station->place));

	for (size_t a = 0; r == 0 && a < verify->addresses.count; a++)
		if (a < verify->dialled || addresses[a].ifindex == home->index)
			r = aim_at_address(verify, station, i, addresses[a].prefix.address);
	return r;
}

/* Frames to the service itself, and to where a translation might begin. */
static int aim_raw(struct nb_station *station, size_t i, const struct nb_mapping *mapping)
{
	const uint16_t ports[] = { mapping->target.port, mapping->port };
	int r = 0;

	for (size_t p = 0; r == 0 && p < 2; p++)
		if (p == 0 || ports[p] != ports[0])
			r = aim(station, NB_FROM_RAW, i, mapping->protocol, mapping->target.address,
				ports[p]);
	return r;
}

/* A container dials as it does every day; everything else is for the place beside it. */
static int aim_inside(const struct nb_verify *verify, struct nb_station *station)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < verify->mapping_count; i++) {
		const struct nb_stored *stored = nb_verify_mapping(verify, i);

		if (strcmp(stored->bridge, station->bridge) == 0)
			r = aim(station, NB_FROM_NETWORK, i, stored->mapping.protocol,
				nb_probe_gateway(station->place), stored->mapping.port);
	}
	return r;
}

static int aim_station(const struct nb_verify *verify, struct nb_station *station)
{
	static const uint8_t protocols[2] = { IPPROTO_TCP, IPPROTO_UDP };
	int r = aim_inside(verify, station);

	if (station->pid)
		return r;
	for (size_t i = 0; r == 0 && i < verify->mapping_count; i++) {
		const struct nb_stored *stored = nb_verify_mapping(verify, i);

		if (strcmp(stored->bridge, station->bridge) != 0)
			r = aim_from_elsewhere(verify, station, i);
		if (r == 0)
			r = aim_raw(station, i, &stored->mapping);
	}
	for (size_t i = 0; r == 0 && i < 2; i++)
		r = aim(station, NB_FROM_RAW, NB_NO_MAPPING, protocols[i], LOCALHOST,
			verify->ports[i]);
	return r;
}

/* A station that could not be opened: of a container that is a pity, as of a bridge without mappings. */
static int miss(struct nb_verify *verify, const struct nb_station *station)
{
	const char *why = station->error.message;

	if (station->result == -ENOMEM || (station->result == -EPERM && !station->pid)) {
		verify->run->error = station->error;
		return station->result;
	}
	if (station->pid)
		return nb_verify_skip(verify, station->bridge, "container %s: %s",
				      station->container, why);
	if (!station->bridge[0]) {
		nb_warn(&verify->run->warnings, "not checked from the LAN: %s", why);
		return 0;
	}
	/* one with mappings has rows of its own that say it */
	return nb_verify_is_mapped(verify, station->bridge)
		       ? 0
		       : nb_verify_skip(verify, station->bridge, "%s", why);
}

int nb_verify_aim(struct nb_verify *verify)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < verify->station_count; i++) {
		struct nb_station *station = &verify->stations[i];

		r = station->result == 0 ? aim_station(verify, station) : miss(verify, station);
	}
	if (r == -ENOMEM)
		nb_out_of_memory(verify->run);
	return r;
}
