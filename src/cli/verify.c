/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge verify: is open what shall be, and closed everything else?
 *
 * Stations are places (see probe.h) on each bridge of containers, one that stands for the LAN, and
 * containers themselves.
 * From its own bridge a mapping has to be reached; from all others nothing may come to it, nor may
 * a frame to 127.0.0.0/8 come in anywhere. What came is told by the host itself, behind its last
 * rule: no answer is no proof that nothing arrived.
 */
#include "screen.h"
#include "verify.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_THREADS 16

const struct nb_stored *nb_verify_mapping(const struct nb_verify *verify, size_t i)
{
	return &verify->view.inventory.items[verify->mappings[i]];
}

const struct nb_station *nb_verify_station(const struct nb_verify *verify, const char *bridge)
{
	for (size_t i = 0; i < verify->station_count; i++)
		if (!verify->stations[i].pid && strcmp(verify->stations[i].bridge, bridge) == 0)
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

/* --- All stations at once --- */

struct crew {
	struct nb_verify *verify;
	void (*work)(struct nb_station *station);
	const char *what;
	pthread_mutex_t lock;
	size_t next, done;
	bool shown;
};

/* One line that is always the last, and empty in the end. */
static void show_progress(const struct crew *crew)
{
	if (!crew->shown)
		return;
	fputs("\r\033[K", stderr);
	if (crew->done < crew->verify->station_count)
		fprintf(stderr, "%s: %zu of %zu networks", crew->what, crew->done,
			crew->verify->station_count);
	fflush(stderr);
}

static bool wants_progress(const struct nb_options *options)
{
	struct nb_screen screen;

	nb_screen_open(&screen, stderr);
	return screen.erases && !options->quiet && !options->json;
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

	crew.shown = wants_progress(&verify->run->options);
	show_progress(&crew);
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
		r = nb_verify_choose(verify);
		if (r == 0)
			r = open_sockets(verify);
		if (r == 0) {
			nb_host_listeners_read(verify->run, &verify->listeners);
			read_dnats(verify);
		}
		if (r == 0)
			all_stations(verify, "joining", nb_station_open);
		if (r == 0)
			r = nb_verify_aim(verify);
		if (r == 0)
			all_stations(verify, "probing", nb_station_fire);
		for (size_t i = 0; r == 0 && i < verify->station_count; i++) {
			const struct nb_station *station = &verify->stations[i];

			/* one that could not be opened has been told */
			if (station->place && station->ear && station->result < 0) {
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
	free(verify->skipped);
	nb_address_list_clear(&verify->addresses);
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
	struct nb_verify verify = {
		.run = run,
		.sockets = { -1, -1 },
		/* a slip is not to look like a success */
		.view.requires_network = true,
	};
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
