/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of the packets of a mapping when they come to a hook, bit by bit: a rule
 * may look at any of them, and what nobody knows it may find either way.
 */
#ifndef NAT_BRIDGE_FIREWALL_PACKET_H
#define NAT_BRIDGE_FIREWALL_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nat-bridge/link.h"

/* Does a rule match? */
enum nb_truth {
	NB_NO,
	NB_MAYBE,
	NB_YES,
};

enum nb_truth nb_truth_not(enum nb_truth truth);
enum nb_truth nb_truth_and(enum nb_truth a, enum nb_truth b);

#define NB_HEADER_SIZE 20 /* of IPv4, without options */
#define NB_PORTS_SIZE  4  /* of TCP and UDP: source and destination */

/* A device: its name, "" for "there is none"; or nothing is known but that it is not lo. */
struct nb_packet_device {
	bool known;
	char name[NB_IFNAME_SIZE];
	int index; /* 0 = not known */
};

struct nb_packet {
	uint8_t family; /* of the chain: NFPROTO_* */
	struct nb_packet_device in, out;
	/* network byte order; a bit of known is set where that of the value counts */
	uint8_t header[NB_HEADER_SIZE], header_known[NB_HEADER_SIZE];
	uint8_t ports[NB_PORTS_SIZE], ports_known[NB_PORTS_SIZE];
	/* host byte order */
	uint32_t mark, mark_known;
	uint32_t ct_state, ct_state_known;   /* NF_CT_STATE_BIT()s */
	uint32_t ct_status, ct_status_known; /* IPS_* */
	uint32_t ct_mark, ct_mark_known;     /* of the connection, if that is known to the kernel */
	uint8_t ct_direction;		     /* IP_CT_DIR_*, or NB_DIRECTION_UNKNOWN */
	uint16_t ct_dialled; /* the port that the flow's first packet was sent to; 0: not known */
	/* RTN_LOCAL, RTN_UNICAST, or 0: not known */
	uint8_t source_type, destination_type;
};

#define NB_DIRECTION_UNKNOWN 2

/* What rules may change, and the next chain sees. */
struct nb_marks {
	uint32_t mark, mark_known;
	uint32_t ct_mark, ct_mark_known;
};

/* A change: bits of @mask become those of @value, those of @unknown anything. */
struct nb_mark_change {
	uint32_t mask, value, unknown;
};

/* An IPv4 packet of TCP or UDP, of which nothing else is known. */
void nb_packet_init(struct nb_packet *packet, uint8_t family);
/* What chain `admit` lets through, of any mapping, where the input hook goes on with others. */
void nb_packet_admitted(struct nb_packet *packet, uint8_t family, uint32_t mark);
void nb_packet_set_protocol(struct nb_packet *packet, uint8_t protocol);
/* Addresses and ports in host byte order; @prefix bits of the address are known. */
void nb_packet_set_source(struct nb_packet *packet, uint32_t address, unsigned int prefix);
void nb_packet_set_destination(struct nb_packet *packet, uint32_t address, unsigned int prefix);
void nb_packet_set_source_port(struct nb_packet *packet, uint16_t port);
void nb_packet_set_destination_port(struct nb_packet *packet, uint16_t port);
/*
 * RTN_* of an address, 0: not known. @on_device: among the addresses of the packet's own device
 * (`fib daddr . iif type`, --limit-iface-in), where one of another device is unicast.
 */
uint8_t nb_packet_source_type(const struct nb_packet *packet, bool on_device);
uint8_t nb_packet_destination_type(const struct nb_packet *packet, bool on_device);
/* IPPROTO_TCP, IPPROTO_UDP, or 0: either. */
uint8_t nb_packet_protocol(const struct nb_packet *packet);
struct nb_marks nb_packet_marks(const struct nb_packet *packet);
void nb_packet_set_marks(struct nb_packet *packet, const struct nb_marks *marks);
/* Has connection tracking seen the packet? Before that it has no connection, nor a mark of one. */
bool nb_packet_is_tracked(const struct nb_packet *packet);
/* Set what is known of the mark behind a rule that sets the bits of @mask to @value. */
void nb_packet_write_mark(struct nb_packet *packet, uint32_t mask, uint32_t value);

/* Registers of nf_tables: 64 bytes, by the numbers of both counts, NFT_REG_1 and NFT_REG32_00. */
#define NB_REGISTER_BYTES 64

struct nb_registers {
	uint8_t value[NB_REGISTER_BYTES], known[NB_REGISTER_BYTES];
};

/* Offset of a register; -1 if there is no such, or less than @length bytes. */
int nb_register_offset(uint32_t number, size_t length);
void nb_registers_forget(struct nb_registers *registers, uint32_t number, size_t length);
void nb_registers_store(struct nb_registers *registers, uint32_t number, const void *value,
			const void *known, size_t length);
/* Is what the register holds equal to @data? */
enum nb_truth nb_registers_equal(const struct nb_registers *registers, uint32_t number,
				 const void *data, size_t length);
/* The lowest and the highest value that it may hold, as bytes; -1: there is no such register. */
int nb_registers_bounds(const struct nb_registers *registers, uint32_t number, size_t length,
			uint8_t *ret_low, uint8_t *ret_high);
/* Its bytes if all are known, else NULL. */
const uint8_t *nb_registers_get(const struct nb_registers *registers, uint32_t number,
				size_t length);

#endif
