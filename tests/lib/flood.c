/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flood of raw UDP frames to 127.0.0.1, as fast as one processor sends them. Run it in the
 * attacker's namespace.
 *
 *   flood DEVICE MAC SOURCE PORT...    until SIGTERM; then prints how many a second
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST 64
#define SIZE  (sizeof(struct ether_header) + sizeof(struct iphdr) + sizeof(struct udphdr) + 4)

static volatile sig_atomic_t ended;

static void end(int number)
{
	(void)number;
	ended = 1;
}

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned short checksum(const unsigned char *bytes, size_t length)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < length; i += 2)
		sum += (unsigned int)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((unsigned short)~sum);
}

static void write_frame(unsigned char *frame, const unsigned char *mac, const char *source,
			unsigned short port)
{
	struct ether_header ethernet = { .ether_type = htons(ETHERTYPE_IP) };
	struct udphdr udp = { .source = htons(33333), .dest = htons(port), .len = htons(12) };
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(SIZE - sizeof(ethernet)),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = inet_addr(source),
		.daddr = htonl(INADDR_LOOPBACK),
	};

	memcpy(ethernet.ether_dhost, mac, 6);
	ethernet.ether_shost[0] = 2;
	memcpy(frame, &ethernet, sizeof(ethernet));
	memcpy(frame + sizeof(ethernet), &ip, sizeof(ip));
	ip.check = checksum(frame + sizeof(ethernet), sizeof(ip));
	memcpy(frame + sizeof(ethernet), &ip, sizeof(ip));
	memcpy(frame + sizeof(ethernet) + sizeof(ip), &udp, sizeof(udp));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static unsigned char frames[BURST][SIZE];
	struct iovec vectors[BURST];
	struct mmsghdr messages[BURST];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct sigaction action = { .sa_handler = end };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
	unsigned char mac[6];
	unsigned long sent = 0;
	double begin = now();

	if (argc < 5 || sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2],
			       &mac[3], &mac[4], &mac[5]) != 6)
		return 2;
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(argv[1]);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BURST; i++) {
		write_frame(frames[i], mac, argv[3],
			    (unsigned short)atoi(argv[4 + i % (argc - 4)]));
		vectors[i] = (struct iovec){ .iov_base = frames[i], .iov_len = SIZE };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	sigaction(SIGTERM, &action, NULL);
	while (!ended) {
		int count = sendmmsg(fd, messages, BURST, 0);

		if (count > 0)
			sent += (unsigned long)count;
	}
	printf("%.0f\n", (double)sent / (now() - begin));
	return 0;
}
