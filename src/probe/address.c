/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address of a network for which nobody answers, by ARP probes (RFC 5227): their sender is
 * 0.0.0.0, so that nobody takes us for the owner of what we only ask for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat-bridge/plan.h"
#include "place.h"

#define GATEWAY_WAIT_MS 3000 /* a port takes a moment to forward; with STP half a minute */
#define ASK_EVERY_MS	100
#define CANDIDATES	16
#define CANDIDATE_MS	250

struct arp_frame {
	struct ether_header link;
	struct ether_arp arp;
} __attribute__((packed));

static void ask_as(const struct nb_probe_place *place, int fd, uint32_t sender, uint32_t address)
{
	struct arp_frame frame = {
		.link.ether_type = htons(ETHERTYPE_ARP),
		.arp.ea_hdr = {
			.ar_hrd = htons(ARPHRD_ETHER),
			.ar_pro = htons(ETHERTYPE_IP),
			.ar_hln = NB_MAC_SIZE,
			.ar_pln = sizeof(address),
			.ar_op = htons(ARPOP_REQUEST),
		},
	};
	uint32_t asking = htonl(sender), wanted = htonl(address);

	memset(frame.link.ether_dhost, 0xff, NB_MAC_SIZE);
	memcpy(frame.link.ether_shost, place->mac, NB_MAC_SIZE);
	memcpy(frame.arp.arp_sha, place->mac, NB_MAC_SIZE);
	memcpy(frame.arp.arp_spa, &asking, sizeof(asking));
	memcpy(frame.arp.arp_tpa, &wanted, sizeof(wanted));
	/* what is lost is asked again */
	(void)!send(fd, &frame, sizeof(frame), 0);
}

static void ask(const struct nb_probe_place *place, int fd, uint32_t address)
{
	ask_as(place, fd, 0, address);
}

void nb_place_announce(const struct nb_probe_place *place, int fd)
{
	ask_as(place, fd, place->address, place->gateway);
}

/* Who spoke, until @deadline: an address and its MAC. False: nobody. */
static bool hear(int fd, int64_t deadline, uint32_t *ret_address, unsigned char *ret_mac)
{
	for (;;) {
		int64_t left = deadline - nb_monotonic_ms();
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		struct arp_frame frame;
		uint32_t address;

		if (poll(&poller, 1, left > 0 ? (int)left : 0) <= 0)
			return false;
		if (recv(fd, &frame, sizeof(frame), MSG_DONTWAIT) < (ssize_t)sizeof(frame))
			continue;
		memcpy(&address, frame.arp.arp_spa, sizeof(address));
		if (!address)
			continue;
		*ret_address = ntohl(address);
		memcpy(ret_mac, frame.arp.arp_sha, NB_MAC_SIZE);
		return true;
	}
}

static int wait_for_gateway(struct nb_probe_place *place, int fd, struct nb_error *err)
{
	int64_t deadline = nb_monotonic_ms() + GATEWAY_WAIT_MS, next;
	uint32_t address;

	while (nb_monotonic_ms() < deadline) {
		ask(place, fd, place->gateway);
		next = nb_monotonic_ms() + ASK_EVERY_MS;
		while (hear(fd, next, &address, place->host_mac))
			if (address == place->gateway)
				return 0;
	}
	return nb_error_set(err, NB_STATUS_FAILED, ETIMEDOUT, "kernel",
			    "the host does not answer ARP there: the device is down, or a filter "
			    "or spanning tree keeps its ports apart");
}

/* From the end of the network: engines give addresses from its beginning. */
static uint32_t candidate(const struct nb_prefix *network, uint32_t number)
{
	uint32_t hosts = UINT32_MAX >> network->length;

	return (network->address & ~hosts) | (hosts - 1 - number);
}

static bool is_avoided(const struct nb_probe_place *place, const uint32_t *avoid, size_t count,
		       uint32_t address)
{
	if (address == place->gateway)
		return true;
	for (size_t i = 0; i < count; i++)
		if (avoid[i] == address)
			return true;
	return false;
}

/* Ask for some candidates at once; the first for which nobody answers. 0: none of them. */
static uint32_t choose(struct nb_probe_place *place, int fd, const uint32_t *candidates,
		       size_t count)
{
	bool taken[CANDIDATES] = { false };
	unsigned char mac[NB_MAC_SIZE];
	uint32_t address;

	for (int round = 0; round < 2; round++) {
		int64_t deadline = nb_monotonic_ms() + CANDIDATE_MS / 2;

		for (size_t i = 0; i < count; i++)
			ask(place, fd, candidates[i]);
		while (hear(fd, deadline, &address, mac))
			for (size_t i = 0; i < count; i++)
				taken[i] |= candidates[i] == address;
	}
	for (size_t i = 0; i < count; i++)
		if (!taken[i])
			return candidates[i];
	return 0;
}

static int find_free(struct nb_probe_place *place, int fd, const struct nb_prefix *network,
		     const uint32_t *avoid, size_t count, struct nb_error *err)
{
	uint32_t hosts = (UINT32_MAX >> network->length) - 1; /* but the last, which is broadcast */
	uint32_t most = hosts < 1024 ? hosts : 1024, tried = 0, start = 0;

	/* two that probe at the same time had better not begin with the same address */
	if (hosts > 4 * CANDIDATES && getrandom(&start, sizeof(start), 0) == sizeof(start))
		start %= CANDIDATES;
	while (tried < most) {
		uint32_t candidates[CANDIDATES], found;
		size_t asked = 0;

		for (; tried < most && asked < CANDIDATES; tried++) {
			uint32_t address = candidate(network, (start + tried) % hosts);

			if (!is_avoided(place, avoid, count, address))
				candidates[asked++] = address;
		}
		found = choose(place, fd, candidates, asked);
		if (found) {
			place->address = found;
			return 0;
		}
	}
	return nb_error_set(err, NB_STATUS_FAILED, EADDRNOTAVAIL, "kernel",
			    "there is no free address in its network for a probe");
}

int nb_place_find_address(struct nb_probe_place *place, const struct nb_prefix *network,
			  const uint32_t *avoid, size_t count, struct nb_error *err)
{
	struct sockaddr_ll where = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = place->device,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) < 0) {
		r = nb_netlink_error(err, NULL, -errno, "open a packet socket");
		if (fd >= 0)
			close(fd);
		return r;
	}
	place->gateway = network->address;
	r = wait_for_gateway(place, fd, err);
	if (r == 0)
		r = find_free(place, fd, network, avoid, count, err);
	close(fd);
	return r;
}
