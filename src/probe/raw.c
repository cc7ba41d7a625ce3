/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames that are made by hand, and what comes back. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat-bridge/plan.h"
#include "place.h"

#define FIRST_PORT 2000 /* ... and below the ephemeral ones */
#define PORT_COUNT 30000
#define TIMES	   3
#define BURST	   64 /* the receiver's backlog holds 1000 */
#define SEQUENCE   0x6e62

struct frame {
	struct ether_header link;
	struct iphdr ip;
	union {
		struct tcphdr tcp;
		struct udphdr udp;
	};
} __attribute__((packed));

struct raw_run {
	const struct nb_probe_place *place;
	struct nb_raw_probe *probes;
	size_t count;
	uint16_t first_port;
	int timeout_ms;
	int fd;
};

static uint32_t sum(uint32_t total, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i + 1 < length; i += 2)
		total += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return total;
}

static uint16_t fold(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return htons((uint16_t)~total);
}

static size_t build(const struct raw_run *run, const struct nb_raw_probe *probe, bool reset,
		    uint32_t sequence, struct frame *frame)
{
	bool tcp = probe->protocol == IPPROTO_TCP;
	size_t length = tcp ? sizeof(frame->tcp) : sizeof(frame->udp);
	uint32_t total;

	memset(frame, 0, sizeof(*frame));
	memcpy(frame->link.ether_dhost, run->place->host_mac, NB_MAC_SIZE);
	memcpy(frame->link.ether_shost, run->place->mac, NB_MAC_SIZE);
	frame->link.ether_type = htons(ETHERTYPE_IP);
	frame->ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.tot_len = htons((uint16_t)(sizeof(frame->ip) + length)),
		.protocol = probe->protocol,
		.saddr = htonl(probe->source ? probe->source : run->place->address),
		.daddr = htonl(probe->address),
	};
	frame->ip.check = fold(sum(0, &frame->ip, sizeof(frame->ip)));
	if (tcp)
		frame->tcp = (struct tcphdr){
			.source = htons(probe->source_port),
			.dest = htons(probe->port),
			.seq = htonl(sequence),
			.doff = 5,
			.syn = !reset,
			.rst = reset,
			.window = htons(1024),
		};
	else
		frame->udp = (struct udphdr){
			.source = htons(probe->source_port),
			.dest = htons(probe->port),
			.len = htons((uint16_t)length),
		};
	/* the pseudo header: addresses, protocol, length */
	total = sum(probe->protocol + (uint32_t)length, &frame->ip.saddr, 8);
	if (tcp)
		frame->tcp.check = fold(sum(total, &frame->tcp, length));
	else
		frame->udp.check = fold(sum(total, &frame->udp, length));
	return sizeof(frame->link) + sizeof(frame->ip) + length;
}

static void transmit(const struct raw_run *run, const struct nb_raw_probe *probe, bool reset,
		     uint32_t sequence)
{
	struct frame frame;
	size_t length = build(run, probe, reset, sequence, &frame);

	/* what is lost here is sent again */
	(void)!send(run->fd, &frame, length, 0);
}

/* The probe that was sent from @port, if it is of @protocol. */
static struct nb_raw_probe *find(const struct raw_run *run, uint8_t protocol, uint16_t port)
{
	size_t i = (size_t)ntohs(port) - run->first_port;

	if (ntohs(port) < run->first_port || i >= run->count || run->probes[i].protocol != protocol)
		return NULL;
	return &run->probes[i];
}

static void read_tcp(const struct raw_run *run, const struct tcphdr *tcp)
{
	struct nb_raw_probe *probe = find(run, IPPROTO_TCP, tcp->dest);

	if (!probe)
		return;
	if (tcp->rst) {
		if (probe->result != NB_PROBE_CONNECTED)
			probe->result = NB_PROBE_REFUSED;
	} else if (tcp->syn && tcp->ack) {
		probe->result = NB_PROBE_CONNECTED;
		transmit(run, probe, true, ntohl(tcp->ack_seq));
	}
}

static void read_icmp(const struct raw_run *run, const unsigned char *data, size_t length)
{
	struct icmphdr icmp;
	struct iphdr inner;
	struct nb_raw_probe *probe;
	uint16_t port;

	if (length < sizeof(icmp) + sizeof(inner) + sizeof(port))
		return;
	memcpy(&icmp, data, sizeof(icmp));
	memcpy(&inner, data + sizeof(icmp), sizeof(inner));
	if (icmp.type != ICMP_DEST_UNREACH ||
	    length < sizeof(icmp) + (size_t)inner.ihl * 4 + sizeof(port))
		return;
	memcpy(&port, data + sizeof(icmp) + (size_t)inner.ihl * 4, sizeof(port));
	probe = find(run, inner.protocol, port);
	if (probe && probe->result == NB_PROBE_TIMED_OUT)
		probe->result = icmp.code == ICMP_PORT_UNREACH ? NB_PROBE_REFUSED
							       : NB_PROBE_UNREACHABLE;
}

static void read_packet(const struct raw_run *run, const unsigned char *data, size_t length)
{
	struct nb_raw_probe *probe;
	struct iphdr ip;
	struct tcphdr tcp;
	struct udphdr udp;
	size_t head;

	if (length < sizeof(ip))
		return;
	memcpy(&ip, data, sizeof(ip));
	head = (size_t)ip.ihl * 4;
	if (head < sizeof(ip) || length < head)
		return;
	if (ip.protocol == IPPROTO_TCP && length >= head + sizeof(tcp)) {
		memcpy(&tcp, data + head, sizeof(tcp));
		read_tcp(run, &tcp);
	} else if (ip.protocol == IPPROTO_UDP && length >= head + sizeof(udp)) {
		memcpy(&udp, data + head, sizeof(udp));
		probe = find(run, IPPROTO_UDP, udp.dest);
		if (probe)
			probe->result = NB_PROBE_ANSWERED;
	} else if (ip.protocol == IPPROTO_ICMP) {
		read_icmp(run, data + head, length - head);
	}
}

/* Read what came back, until @deadline. */
static void receive(const struct raw_run *run, int64_t deadline)
{
	for (;;) {
		unsigned char data[256];
		struct sockaddr_ll from = { 0 };
		socklen_t size = sizeof(from);
		int64_t left = deadline - nb_monotonic_ms();
		struct pollfd poller = { .fd = run->fd, .events = POLLIN };
		ssize_t length;

		if (poll(&poller, 1, left > 0 ? (int)left : 0) <= 0)
			return;
		length = recvfrom(run->fd, data, sizeof(data), MSG_DONTWAIT,
				  (struct sockaddr *)&from, &size);
		if (length > (ssize_t)sizeof(struct ether_header) &&
		    from.sll_pkttype != PACKET_OUTGOING)
			read_packet(run, data + sizeof(struct ether_header),
				    (size_t)length - sizeof(struct ether_header));
	}
}

static void send_all(const struct raw_run *run)
{
	size_t sent = 0;

	for (size_t i = 0; i < run->count; i++) {
		if (run->probes[i].result != NB_PROBE_TIMED_OUT)
			continue;
		transmit(run, &run->probes[i], false, SEQUENCE);
		if (++sent % BURST == 0)
			receive(run, nb_monotonic_ms() + 1);
	}
}

static int work(void *data)
{
	struct raw_run *run = data;
	struct sockaddr_ll where = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = run->place->device,
	};
	int size = 4 * 1024 * 1024;

	run->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (run->fd < 0)
		return -errno;
	setsockopt(run->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(run->fd, (struct sockaddr *)&where, sizeof(where)) < 0) {
		int number = errno;

		close(run->fd);
		return -number;
	}
	nb_place_announce(run->place, run->fd);
	for (int i = 0; i < TIMES; i++) {
		send_all(run);
		receive(run, nb_monotonic_ms() + run->timeout_ms / TIMES);
	}
	close(run->fd);
	return 0;
}

int nb_probe_raw(struct nb_probe_place *place, struct nb_raw_probe *probes, size_t count,
		 int timeout_ms, struct nb_error *err)
{
	struct raw_run run = {
		.place = place,
		.probes = probes,
		.count = count,
		.timeout_ms = timeout_ms,
	};
	int r;

	if (!place->device)
		return nb_error_set(err, NB_STATUS_FAILED, EOPNOTSUPP, "unsupported",
				    "raw frames are not sent from a container's own namespace");
	if (count > PORT_COUNT)
		return nb_error_set(err, NB_STATUS_FAILED, E2BIG, "unsupported",
				    "more than %d raw frames at once", PORT_COUNT);
	/* what an earlier run left in connection tracking has other ports, as long as there are */
	if (place->ports_used + count > PORT_COUNT)
		place->ports_used = 0;
	run.first_port = (uint16_t)(FIRST_PORT + place->ports_used);
	place->ports_used += count;
	for (size_t i = 0; i < count; i++) {
		probes[i].source_port = (uint16_t)(run.first_port + i);
		probes[i].result = NB_PROBE_TIMED_OUT;
	}
	r = nb_place_do(place, work, &run);
	return r < 0 ? nb_netlink_error(err, NULL, r, "send raw frames") : 0;
}
