/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge verify: is open what shall be, and closed everything else?
 *
 * Stations are places (see probe.h) on each bridge of containers, and one that stands for the LAN.
 * From its own bridge a mapping has to be reached; from all others nothing may come to it, nor may
 * a frame to 127.0.0.0/8 come in anywhere. What came is told by the host itself, behind its last
 * rule: no answer is no proof that nothing arrived.
 */
#include "verify.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOCALHOST    UINT32_C(0x7f000001)
#define MOST_THREADS 16
/* Beyond that, looking whether a frame is sent already takes longer than to send it again. */
#define DEDUPE_MOST 2000

const struct nb_stored *nb_verify_mapping(const struct nb_verify *verify, size_t i)
{
	return &verify->view.inventory.items[verify->mappings[i]];
}

const struct nb_station *nb_verify_station(const struct nb_verify *verify, const char *bridge)
{
	for (size_t i = 0; i < verify->station_count; i++)
		if (strcmp(verify->stations[i].bridge, bridge) == 0)
			return &verify->stations[i];
	return NULL;
}

/* What has to work now: in force, and its device is there. */
static int choose_mappings(struct nb_verify *verify)
{
	const struct nb_inventory *inventory = &verify->view.inventory;
	char name[NB_NETWORK_SIZE];

	verify->mappings = calloc(inventory->count + 1, sizeof(*verify->mappings));
	if (!verify->mappings)
		return nb_out_of_memory(verify->run);
	for (size_t i = 0; i < inventory->count; i++) {
		const struct nb_stored *stored = &inventory->items[i];

		if (nb_mapping_is_in_force(&stored->mapping) && stored->link)
			verify->mappings[verify->mapping_count++] = i;
		else if (nb_mapping_is_in_force(&stored->mapping))
			nb_warn(&verify->run->warnings, "not checked, pending: %s %u/%s",
				nb_network_format(&stored->mapping.network, name),
				stored->mapping.port, nb_protocol_name(stored->mapping.protocol));
	}
	return 0;
}

/* May we stand there as a container does? */
static bool is_station(struct nb_verify *verify, const struct nb_link *link)
{
	bool mapped = nb_verify_is_mapped(verify, link->name);
	char why[256];

	if (strcmp(link->kind, "bridge") != 0) {
		if (mapped)
			nb_warn(&verify->run->warnings,
				"%s is no bridge: its mappings cannot be checked from inside",
				link->name);
		return false;
	}
	if (nb_link_is_private(nb_view_links(&verify->view), link, why, sizeof(why)))
		return true;
	if (mapped)
		nb_warn(&verify->run->warnings,
			"%s: its mappings are not checked from inside, which would be on that "
			"network",
			why);
	return false;
}

/* A stopped container may come back with its address, so what the engine gave is nobody else's. */
static int avoid_containers(struct nb_verify *verify, struct nb_station *station)
{
	struct nb_engine_endpoints endpoints;
	struct nb_network network;

	if (!nb_ask_bridge(verify->run, station->bridge, false, &network))
		return 0;
	if (nb_ask_endpoints(verify->run, network.engine, network.name, &endpoints) < 0)
		return nb_out_of_memory(verify->run);
	station->avoid = calloc(endpoints.count + 1, sizeof(*station->avoid));
	for (size_t i = 0; station->avoid && i < endpoints.count; i++)
		station->avoid[station->avoid_count++] = endpoints.items[i].address;
	nb_engine_endpoints_clear(&endpoints);
	return station->avoid ? 0 : nb_out_of_memory(verify->run);
}

static int choose_stations(struct nb_verify *verify)
{
	const struct nb_link_list *links = nb_view_links(&verify->view);
	int r = 0;

	verify->stations = calloc(links->count + 1, sizeof(*verify->stations));
	if (!verify->stations)
		return nb_out_of_memory(verify->run);
	for (size_t i = 0; r == 0 && i < links->count; i++) {
		struct nb_station *station = &verify->stations[verify->station_count];

		if (!is_station(verify, &links->items[i]))
			continue;
		strcpy(station->bridge, links->items[i].name);
		verify->station_count++;
		r = avoid_containers(verify, station);
	}
	verify->station_count++; /* the LAN */
	for (size_t i = 0; i < verify->station_count; i++)
		verify->stations[i].verify = verify;
	return r;
}

/* --- All stations at once --- */

struct crew {
	struct nb_verify *verify;
	void (*work)(struct nb_station *station);
	const char *what;
	pthread_mutex_t lock;
	size_t next, done;
};

static void show_progress(const struct crew *crew)
{
	const struct nb_options *options = &crew->verify->run->options;

	if (options->quiet || options->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s: %zu of %zu networks", crew->what, crew->done,
		crew->verify->station_count);
	if (crew->done == crew->verify->station_count)
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

static void *work_on(void *data)
{
	struct crew *crew = data;

	pthread_mutex_lock(&crew->lock);
	while (crew->next < crew->verify->station_count) {
		struct nb_station *station = &crew->verify->stations[crew->next++];

		pthread_mutex_unlock(&crew->lock);
		crew->work(station);
		pthread_mutex_lock(&crew->lock);
		crew->done++;
		show_progress(crew);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* A station spends its time waiting: what many of them take is what one does. */
static void all_stations(struct nb_verify *verify, const char *what,
			 void (*work)(struct nb_station *station))
{
	struct crew crew = { .verify = verify, .work = work, .what = what };
	pthread_t threads[MOST_THREADS];
	size_t count = 0;

	pthread_mutex_init(&crew.lock, NULL);
	while (count < MOST_THREADS && count < verify->station_count &&
	       pthread_create(&threads[count], NULL, work_on, &crew) == 0)
		count++;
	/* whatever threads there are: with none of them it takes longer */
	work_on(&crew);
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&crew.lock);
}

/* --- What is sent --- */

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

/* From elsewhere: neither the port dialled nor the service's own, on any address it may come to. */
static int aim_from_elsewhere(const struct nb_verify *verify, struct nb_station *station, size_t i)
{
	const struct nb_mapping *mapping = &nb_verify_mapping(verify, i)->mapping;
	const struct nb_station *home = nb_verify_station(verify,
							  nb_verify_mapping(verify, i)->bridge);
	const uint32_t addresses[] = {
		nb_probe_gateway(station->place),
		home && home->place ? nb_probe_gateway(home->place) : 0,
	};
	const uint16_t ports[] = { mapping->port, mapping->target.port };
	int r = 0;

	for (size_t a = 0; a < 2; a++)
		for (size_t p = 0; r == 0 && addresses[a] && p < 2; p++)
			if (!maps(verify, station, mapping->protocol, ports[p]))
				r = aim(station, station->bridge[0] ? NB_FROM_OTHER : NB_FROM_LAN,
					i, mapping->protocol, addresses[a], ports[p]);
	return r;
}

static int aim_station(const struct nb_verify *verify, struct nb_station *station)
{
	static const uint8_t protocols[2] = { IPPROTO_TCP, IPPROTO_UDP };
	int r = 0;

	for (size_t i = 0; r == 0 && i < verify->mapping_count; i++) {
		const struct nb_stored *stored = nb_verify_mapping(verify, i);
		const struct nb_mapping *mapping = &stored->mapping;

		if (strcmp(stored->bridge, station->bridge) == 0)
			r = aim(station, NB_FROM_NETWORK, i, mapping->protocol,
				nb_probe_gateway(station->place), mapping->port);
		else
			r = aim_from_elsewhere(verify, station, i);
		if (r == 0)
			r = aim(station, NB_FROM_RAW, i, mapping->protocol, mapping->target.address,
				mapping->target.port);
	}
	for (size_t i = 0; r == 0 && i < 2; i++)
		r = aim(station, NB_FROM_RAW, NB_NO_MAPPING, protocols[i], LOCALHOST,
			verify->ports[i]);
	return r;
}

static int aim_all(struct nb_verify *verify)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < verify->station_count; i++) {
		struct nb_station *station = &verify->stations[i];

		if (station->result == 0) {
			r = aim_station(verify, station);
			continue;
		}
		if (station->result == -EPERM || station->result == -ENOMEM) {
			verify->run->error = station->error;
			return station->result;
		}
		if (!station->bridge[0] || !nb_verify_is_mapped(verify, station->bridge))
			nb_warn(&verify->run->warnings, "not checked from %s: %s",
				station->bridge[0] ? station->bridge : "the LAN",
				station->error.message);
	}
	return r < 0 ? nb_out_of_memory(verify->run) : 0;
}

/* Sockets of our own, at ports that nobody has mapped. */
static int open_sockets(struct nb_verify *verify)
{
	static const int types[2] = { SOCK_STREAM, SOCK_DGRAM };

	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_in name = {
			.sin_family = AF_INET,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		};
		socklen_t length = sizeof(name);
		int fd = socket(AF_INET, types[i] | SOCK_CLOEXEC, 0);

		verify->sockets[i] = fd;
		if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ||
		    (types[i] == SOCK_STREAM && listen(fd, 1) < 0) ||
		    getsockname(fd, (struct sockaddr *)&name, &length) < 0)
			return nb_error_set(&verify->run->error, NB_STATUS_FAILED, errno, "kernel",
					    "open a socket on 127.0.0.1: %s", strerror(errno));
		verify->ports[i] = ntohs(name.sin_port);
	}
	return 0;
}

/* Somebody's DNAT to 127.0.0.0/8 may be of any port: no packet of ours need find it. */
static void read_dnats(struct nb_verify *verify)
{
	struct nb_run *run = verify->run;
	struct nb_error error;
	int r = -EAGAIN;

	for (int attempt = 0; attempt < 5 && r == -EAGAIN; attempt++) {
		nb_state_clear(&verify->dnats);
		r = nb_state_read(run->nl, run->config.mark, NULL, NB_READ_DNAT, &verify->dnats,
				  &error);
	}
	if (r < 0)
		nb_warn(&run->warnings, "others' DNAT was not looked at: %s", error.message);
}

/* --- The command --- */

static int verify_all(struct nb_verify *verify)
{
	int r = choose_mappings(verify);

	if (r == 0 && verify->mapping_count) {
		r = choose_stations(verify);
		if (r == 0)
			r = open_sockets(verify);
		if (r == 0) {
			nb_host_listeners_read(verify->run, &verify->listeners);
			read_dnats(verify);
		}
		if (r == 0)
			all_stations(verify, "joining", nb_station_open);
		if (r == 0)
			r = aim_all(verify);
		if (r == 0)
			all_stations(verify, "probing", nb_station_fire);
		for (size_t i = 0; r == 0 && i < verify->station_count; i++) {
			const struct nb_station *station = &verify->stations[i];

			if (station->place && station->result < 0) {
				verify->run->error = station->error;
				r = station->result;
			}
		}
	}
	if (r == 0 && nb_verify_judge(verify) < 0)
		r = nb_out_of_memory(verify->run);
	return r;
}

static void clear(struct nb_verify *verify)
{
	all_stations(verify, "leaving", nb_station_close);
	free(verify->stations);
	for (size_t i = 0; i < 2; i++)
		if (verify->sockets[i] >= 0)
			close(verify->sockets[i]);
	nb_host_listeners_clear(&verify->listeners);
	free(verify->mappings);
	free(verify->checks);
	nb_state_clear(&verify->dnats);
	nb_view_clear(&verify->view);
}

int nb_command_verify(struct nb_run *run)
{
	struct nb_verify verify = { .run = run, .sockets = { -1, -1 } };
	int status, r = 0;

	if (geteuid() != 0)
		r = nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "permission",
				 "verify makes network namespaces of its own: run it as root (sudo "
				 "nat-bridge verify)");
	if (r == 0)
		r = nb_view_prepare(run);
	if (r == 0)
		r = nb_view_read(run, &verify.view);
	if (r == 0 && verify.view.result != NB_STATUS_OK)
		r = -ENOENT; /* run->error says it */
	if (r == 0 && !verify.view.visible)
		r = nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "permission",
				 "the ruleset cannot be read here: run it as root, or with "
				 "CAP_NET_ADMIN in this network namespace");
	if (r == 0) {
		nb_advise_host(run);
		r = verify_all(&verify);
	}
	status = r < 0 ? nb_print_failure(run) : nb_verify_print(&verify);
	clear(&verify);
	return status;
}
