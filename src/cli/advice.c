/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What will bite, said when a mapping is added: it is set up rightly, and yet
 * a container may find nobody, or somebody else, or an open door beside it.
 */
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define ALL_ROUTE_LOCALNET "/proc/sys/net/ipv4/conf/all/route_localnet"

static bool is_loopback(const struct nb_listener *listener)
{
	return listener->bound >> 24 == 127 || strcmp(listener->address, "[::1]") == 0;
}

/* Nobody takes the mapping's packets: who is nearest to it? */
static void advise_unserved(struct nb_run *run, const struct nb_mapping *mapping,
			    const struct nb_listener_list *list)
{
	const char *protocol = nb_protocol_name(mapping->protocol);
	char target[NB_TARGET_SIZE], device[IF_NAMESIZE];

	nb_target_format(&mapping->target, target);
	for (size_t i = 0; i < list->count; i++) {
		const struct nb_listener *listener = &list->items[i];

		if (!listener->device || !listener->ipv4 ||
		    !(listener->any || listener->bound == mapping->target.address))
			continue;
		if (!if_indextoname(listener->device, device))
			strcpy(device, "that is gone");
		nb_warn(&run->warnings,
			"what listens on %s/%s is bound to device %s and refuses what comes from "
			"another: %s",
			target, protocol, device,
			mapping->target.port == 53 ? "DNSStubListenerExtra= of systemd-resolved "
						     "adds a listener"
						   : "make it listen without one");
		return;
	}
	if (list->count)
		nb_warn(&run->warnings,
			"nothing listens on %s/%s, but something does on %s:%u: make it listen on "
			"%.*s, too",
			target, protocol, list->items[0].address, mapping->target.port,
			(int)strcspn(target, ":"), target);
	else
		nb_warn(&run->warnings,
			"nothing listens on %s/%s now: containers are refused until something does",
			target, protocol);
}

/* A container that publishes this port of the host, and its engine knows of; else false. */
static bool find_publisher(struct nb_run *run, uint8_t protocol, uint16_t port,
			   const char **ret_name)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++)
		if (nb_ask_publisher(run, (enum nb_engine)engine, protocol, port, ret_name) == 0 &&
		    *ret_name)
			return true;
	return false;
}

static bool is_open(const struct nb_mapping *mapping, const struct nb_listener_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].any &&
		    nb_listener_serves(&list->items[i], mapping->target.address))
			return true;
	return false;
}

/* The service is reachable without the mapping: is it one of the host, or a container's? */
static void advise_open(struct nb_run *run, const struct nb_mapping *mapping)
{
	const char *protocol = nb_protocol_name(mapping->protocol);
	const char *name;

	if (find_publisher(run, mapping->protocol, mapping->target.port, &name))
		nb_warn(&run->warnings,
			"port %u/%s of this host is what container %s publishes, on every address: "
			"it is reachable without a mapping, too",
			mapping->target.port, protocol, name);
	else
		nb_warn(&run->warnings,
			"the service on port %u/%s listens on every address: it is reachable "
			"without a mapping, too (make it listen on 127.0.0.1 alone)",
			mapping->target.port, protocol);
}

static void advise_target(struct nb_run *run, const struct nb_mapping *mapping,
			  const struct nb_listener_list *list)
{
	bool served = false;

	for (size_t i = 0; i < list->count; i++)
		served |= nb_listener_serves(&list->items[i], mapping->target.address);
	if (!served)
		advise_unserved(run, mapping, list);
	else if (is_open(mapping, list))
		advise_open(run, mapping);
}

/*
 * A port that an engine publishes without a process that listens (Docker without its
 * userland-proxy, Podman): our translation comes first.
 */
static void advise_published(struct nb_run *run, const struct nb_mapping *mapping)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE];
	const char *name;

	if (find_publisher(run, mapping->protocol, mapping->port, &name))
		nb_warn(&run->warnings,
			"container %s publishes %u/%s: what %s dials there on this host now goes "
			"to %s",
			name, mapping->port, nb_protocol_name(mapping->protocol),
			nb_network_format(&mapping->network, network),
			nb_target_format(&mapping->target, target));
}

/* The port dialled is taken from whatever else the host has there, for this network. */
static void advise_shadowed(struct nb_run *run, const struct nb_mapping *mapping,
			    const struct nb_listener_list *list)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE];

	for (size_t i = 0; i < list->count; i++) {
		const struct nb_listener *listener = &list->items[i];

		if (!listener->ipv4 || is_loopback(listener) ||
		    (listener->any && mapping->target.port == mapping->port))
			continue;
		nb_warn(&run->warnings,
			"something else listens on %s:%u/%s: what %s dials there now goes to %s",
			listener->address, mapping->port, nb_protocol_name(mapping->protocol),
			nb_network_format(&mapping->network, network),
			nb_target_format(&mapping->target, target));
		return;
	}
	/* with the same port as target it has been said */
	if (mapping->port != mapping->target.port || !is_open(mapping, list))
		advise_published(run, mapping);
}

void nb_host_listeners_read(struct nb_run *run, struct nb_host_listeners *ret)
{
	struct nb_error ignored;

	ret->tcp_known = nb_listeners(run->nl, IPPROTO_TCP, 0, &ret->tcp, &ignored) == 0;
	ret->udp_known = nb_listeners(run->nl, IPPROTO_UDP, 0, &ret->udp, &ignored) == 0;
}

bool nb_host_listeners_on(const struct nb_host_listeners *host, uint8_t protocol, uint16_t port,
			  struct nb_listener_list *ret)
{
	bool tcp = protocol == IPPROTO_TCP;

	*ret = nb_listeners_on(tcp ? &host->tcp : &host->udp, port);
	return tcp ? host->tcp_known : host->udp_known;
}

void nb_host_listeners_clear(struct nb_host_listeners *host)
{
	nb_listener_list_clear(&host->tcp);
	nb_listener_list_clear(&host->udp);
}

void nb_advise_mapping(struct nb_run *run, const struct nb_host_listeners *host,
		       const struct nb_mapping *mapping)
{
	struct nb_listener_list list;

	if (!nb_host_listeners_on(host, mapping->protocol, mapping->target.port, &list))
		return;
	advise_target(run, mapping, &list);
	(void)nb_host_listeners_on(host, mapping->protocol, mapping->port, &list);
	advise_shadowed(run, mapping, &list);
}

void nb_advise_host(struct nb_run *run)
{
	int fd = open(ALL_ROUTE_LOCALNET, O_RDONLY | O_CLOEXEC);
	char value = '0';

	if (fd < 0)
		return;
	if (read(fd, &value, 1) == 1 && value != '0')
		nb_warn(&run->warnings,
			"net.ipv4.conf.all.route_localnet is not 0: every device lets packets to "
			"127.0.0.0/8 in, also those without a guard (sysctl -w "
			"net.ipv4.conf.all.route_localnet=0)");
	close(fd);
}

/* Does the mapping's network stand for this one of an engine? */
static bool stands_for(const struct nb_mapping *mapping, enum nb_engine engine,
		       const struct nb_engine_network *one)
{
	const struct nb_network *network = &mapping->network;

	if (network->engine == NB_ENGINE_IFACE)
		return strcmp(one->bridge, network->name) == 0;
	if (network->engine != engine)
		return false;
	if (!nb_network_is_pattern(network))
		return strcmp(one->name, network->name) == 0;
	return one->bridge[0] && nb_network_matches(network, one->name) &&
	       !nb_mapping_excepts(mapping, one->name);
}

static void advise_internal(struct nb_run *run, const struct nb_mapping *mapping)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = &run->engines[engine];

		for (size_t i = 0; i < answer->count; i++) {
			const struct nb_engine_network *one = &answer->networks[i];

			if (one->internal && stands_for(mapping, (enum nb_engine)engine, one))
				nb_warn(&run->warnings,
					"%s:%s is internal: dial that network's own gateway there; "
					"an engine that gives its containers no default route "
					"leaves host.docker.internal unreachable to them",
					nb_engine_name((enum nb_engine)engine), one->name);
		}
	}
}

void nb_advise_network(struct nb_run *run, const struct nb_mapping *mapping)
{
	const struct nb_network *network = &mapping->network;
	char name[NB_NETWORK_SIZE];

	if (network->engine == NB_ENGINE_CONTAINER)
		nb_warn(&run->warnings,
			"%s stands for its networks: every container on them may use the mapping",
			nb_network_format(network, name));
	advise_internal(run, mapping);
}

void nb_advise(struct nb_run *run, const struct nb_mapping_list *mappings)
{
	struct nb_host_listeners host;

	/* no failure, and nothing that a script can mend */
	if (run->options.quiet && !run->options.json)
		return;
	nb_advise_host(run);
	if (mappings->count)
		nb_advise_network(run, &mappings->items[0]);
	/* advice alone: without sock_diag there is none */
	nb_host_listeners_read(run, &host);
	for (size_t i = 0; i < mappings->count; i++)
		nb_advise_mapping(run, &host, &mappings->items[i]);
	nb_host_listeners_clear(&host);
}
