/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What arrives: raw sockets get a copy of each packet that the host delivers to itself, behind the
 * last hook and before it looks for a socket. So it does not matter whether anybody listens there,
 * and whether an answer finds its way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "place.h"

struct nb_probe_ear {
	int fds[2]; /* TCP, UDP */
};

#define KEPT	    128 /* bytes of a packet: its headers */
#define LONGEST_UDP 64	/* bytes of a packet; a probe has 47 at most */
#define SYN_AND_ACK 0x12
#define SYN	    0x02

/*
 * The kernel copies what comes from the place alone, for lo may be busy, and of that what may be a
 * probe of ours, for a container may be busy, too: what finds no room in the buffer is lost.
 */
static int open_one(int protocol, uint32_t source)
{
	struct sock_filter tcp[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct iphdr, saddr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, source, 0, 5),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* the length of the IP header */
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 13), /* TCP's flags */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_AND_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, KEPT),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter udp[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct iphdr, saddr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, source, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LONGEST_UDP, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, KEPT),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	bool is_tcp = protocol == IPPROTO_TCP;
	const struct sock_fprog program = {
		.len = is_tcp ? sizeof(tcp) / sizeof(*tcp) : sizeof(udp) / sizeof(*udp),
		.filter = is_tcp ? tcp : udp,
	};
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	int size = 16 * 1024 * 1024;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0) {
		int number = errno;

		close(fd);
		return -number;
	}
	return fd;
}

int nb_probe_listen(const struct nb_probe_place *place, struct nb_probe_ear **ret,
		    struct nb_error *err)
{
	static const int protocols[2] = { IPPROTO_TCP, IPPROTO_UDP };
	struct nb_probe_ear *ear = calloc(1, sizeof(*ear));

	*ret = NULL;
	if (!ear)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	ear->fds[0] = ear->fds[1] = -1;
	for (size_t i = 0; i < 2; i++) {
		int r = ear->fds[i] = open_one(protocols[i], place->address);

		if (r < 0) {
			nb_probe_deafen(ear);
			return nb_netlink_error(err, NULL, r, "listen to what arrives");
		}
	}
	*ret = ear;
	return 0;
}

void nb_probe_deafen(struct nb_probe_ear *ear)
{
	if (!ear)
		return;
	for (size_t i = 0; i < 2; i++)
		if (ear->fds[i] >= 0)
			close(ear->fds[i]);
	free(ear);
}

static bool read_arrival(const unsigned char *data, size_t length, struct nb_arrival *ret)
{
	struct iphdr ip;
	uint16_t ports[2]; /* in TCP and UDP alike */

	if (length < sizeof(ip))
		return false;
	memcpy(&ip, data, sizeof(ip));
	if (length < (size_t)ip.ihl * 4 + sizeof(ports))
		return false;
	memcpy(ports, data + (size_t)ip.ihl * 4, sizeof(ports));
	*ret = (struct nb_arrival){
		.protocol = ip.protocol,
		.address = ntohl(ip.daddr),
		.port = ntohs(ports[1]),
		.source_port = ntohs(ports[0]),
	};
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct nb_arrival *left = a, *right = b;

	if (left->protocol != right->protocol)
		return left->protocol < right->protocol ? -1 : 1;
	if (left->source_port != right->source_port)
		return left->source_port < right->source_port ? -1 : 1;
	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	return (left->port > right->port) - (left->port < right->port);
}

bool nb_probe_heard(struct nb_probe_ear *ear, struct nb_arrival **ret_items, size_t *ret_count)
{
	struct nb_arrival *items = NULL, arrival;
	size_t count = 0, capacity = 0, kept = 0;
	unsigned char data[KEPT];
	ssize_t length;

	*ret_items = NULL;
	*ret_count = 0;
	for (size_t i = 0; i < 2; i++) {
		while ((length = recv(ear->fds[i], data, sizeof(data), 0)) >= 0) {
			if (!read_arrival(data, (size_t)length, &arrival))
				continue;
			if (count == capacity) {
				struct nb_arrival *grown;

				capacity = capacity ? 2 * capacity : 256;
				grown = realloc(items, capacity * sizeof(*grown));
				if (!grown) {
					free(items);
					return false;
				}
				items = grown;
			}
			items[count++] = arrival;
		}
	}
	if (count)
		qsort(items, count, sizeof(*items), compare);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || compare(&items[i], &items[kept - 1]) != 0)
			items[kept++] = items[i];
	*ret_items = items;
	*ret_count = kept;
	return true;
}
