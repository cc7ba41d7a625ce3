/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets and registers of which some bits are known. */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include "packet.h"

#define PROTOCOL_OFFSET 9
#define SOURCE_OFFSET	12
#define TARGET_OFFSET	16

enum nb_truth nb_truth_not(enum nb_truth truth)
{
	return truth == NB_MAYBE ? NB_MAYBE : truth == NB_YES ? NB_NO : NB_YES;
}

enum nb_truth nb_truth_and(enum nb_truth a, enum nb_truth b)
{
	return a < b ? a : b;
}

void nb_packet_init(struct nb_packet *packet, uint8_t family)
{
	memset(packet, 0, sizeof(*packet));
	packet->family = family;
	packet->ct_direction = NB_DIRECTION_UNKNOWN;
	packet->header[0] = 0x45;
	packet->header_known[0] = 0xff;
}

void nb_packet_set_protocol(struct nb_packet *packet, uint8_t protocol)
{
	packet->header[PROTOCOL_OFFSET] = protocol;
	packet->header_known[PROTOCOL_OFFSET] = 0xff;
}

void nb_packet_admitted(struct nb_packet *packet, uint8_t family, uint32_t mark)
{
	nb_packet_init(packet, family);
	nb_packet_set_destination(packet, INADDR_LOOPBACK, 8);
	packet->out.known = true; /* there is none */
	packet->mark = packet->mark_known = mark;
	packet->ct_state_known = NF_CT_STATE_INVALID_BIT | NF_CT_STATE_UNTRACKED_BIT;
	packet->ct_status = packet->ct_status_known = IPS_DST_NAT;
	packet->ct_direction = IP_CT_DIR_ORIGINAL;
	packet->source_type = RTN_UNICAST;
	packet->destination_type = RTN_LOCAL;
}

static void set_address(struct nb_packet *packet, size_t offset, uint32_t address,
			unsigned int prefix)
{
	uint32_t known = htonl(prefix ? UINT32_MAX << (32 - prefix) : 0);

	address = htonl(address) & known;
	memcpy(&packet->header[offset], &address, sizeof(address));
	memcpy(&packet->header_known[offset], &known, sizeof(known));
}

void nb_packet_set_source(struct nb_packet *packet, uint32_t address, unsigned int prefix)
{
	set_address(packet, SOURCE_OFFSET, address, prefix);
}

void nb_packet_set_destination(struct nb_packet *packet, uint32_t address, unsigned int prefix)
{
	set_address(packet, TARGET_OFFSET, address, prefix);
}

static void set_port(struct nb_packet *packet, size_t offset, uint16_t port)
{
	port = htons(port);
	memcpy(&packet->ports[offset], &port, sizeof(port));
	memset(&packet->ports_known[offset], 0xff, sizeof(port));
}

void nb_packet_set_source_port(struct nb_packet *packet, uint16_t port)
{
	set_port(packet, 0, port);
}

void nb_packet_set_destination_port(struct nb_packet *packet, uint16_t port)
{
	set_port(packet, 2, port);
}

static uint8_t type_of(const struct nb_packet *packet, uint8_t type, size_t offset, bool on_device)
{
	if (!on_device || type != RTN_LOCAL)
		return type;
	/* 127/8 is lo's; no packet of a mapping comes from there or leaves by it */
	return packet->header_known[offset] == 0xff && packet->header[offset] == IN_LOOPBACKNET
		       ? RTN_UNICAST
		       : 0;
}

uint8_t nb_packet_source_type(const struct nb_packet *packet, bool on_device)
{
	return type_of(packet, packet->source_type, SOURCE_OFFSET, on_device);
}

uint8_t nb_packet_destination_type(const struct nb_packet *packet, bool on_device)
{
	return type_of(packet, packet->destination_type, TARGET_OFFSET, on_device);
}

uint8_t nb_packet_protocol(const struct nb_packet *packet)
{
	return packet->header_known[PROTOCOL_OFFSET] ? packet->header[PROTOCOL_OFFSET] : 0;
}

struct nb_marks nb_packet_marks(const struct nb_packet *packet)
{
	return (struct nb_marks){
		.mark = packet->mark,
		.mark_known = packet->mark_known,
		.ct_mark = packet->ct_mark,
		.ct_mark_known = packet->ct_mark_known,
	};
}

void nb_packet_set_marks(struct nb_packet *packet, const struct nb_marks *marks)
{
	packet->mark = marks->mark;
	packet->mark_known = marks->mark_known;
	packet->ct_mark = marks->ct_mark;
	packet->ct_mark_known = marks->ct_mark_known;
}

bool nb_packet_is_tracked(const struct nb_packet *packet)
{
	return packet->ct_state_known;
}

void nb_packet_write_mark(struct nb_packet *packet, uint32_t mask, uint32_t value)
{
	packet->mark = (packet->mark & ~mask) | (value & mask);
	packet->mark_known |= mask;
}

int nb_register_offset(uint32_t number, size_t length)
{
	size_t offset;

	if (number >= NFT_REG_1 && number <= NFT_REG_4)
		offset = (number - NFT_REG_1) * NFT_REG_SIZE;
	else if (number >= NFT_REG32_00 && number <= NFT_REG32_15)
		offset = (number - NFT_REG32_00) * NFT_REG32_SIZE;
	else
		return -1;
	return length <= NB_REGISTER_BYTES - offset ? (int)offset : -1;
}

/* A store fills whole words of 32 bits, with zeroes behind what it holds. */
static size_t round_up(size_t length)
{
	return (length + NFT_REG32_SIZE - 1) / NFT_REG32_SIZE * NFT_REG32_SIZE;
}

void nb_registers_forget(struct nb_registers *registers, uint32_t number, size_t length)
{
	int offset = nb_register_offset(number, round_up(length));

	if (offset >= 0)
		memset(&registers->known[offset], 0, round_up(length));
}

void nb_registers_store(struct nb_registers *registers, uint32_t number, const void *value,
			const void *known, size_t length)
{
	int offset = nb_register_offset(number, round_up(length));

	if (offset < 0)
		return;
	memset(&registers->value[offset], 0, round_up(length));
	memset(&registers->known[offset], 0xff, round_up(length));
	memcpy(&registers->value[offset], value, length);
	if (known)
		memcpy(&registers->known[offset], known, length);
}

enum nb_truth nb_registers_equal(const struct nb_registers *registers, uint32_t number,
				 const void *data, size_t length)
{
	int offset = nb_register_offset(number, length);
	const uint8_t *bytes = data;
	enum nb_truth result = NB_YES;

	if (offset < 0 || !data)
		return NB_MAYBE;
	for (size_t i = 0; i < length; i++) {
		uint8_t known = registers->known[(size_t)offset + i];

		if ((registers->value[(size_t)offset + i] ^ bytes[i]) & known)
			return NB_NO;
		if (known != 0xff)
			result = NB_MAYBE;
	}
	return result;
}

int nb_registers_bounds(const struct nb_registers *registers, uint32_t number, size_t length,
			uint8_t *ret_low, uint8_t *ret_high)
{
	int offset = nb_register_offset(number, length);

	if (offset < 0)
		return -1;
	for (size_t i = 0; i < length; i++) {
		uint8_t known = registers->known[(size_t)offset + i];
		uint8_t value = registers->value[(size_t)offset + i];

		ret_low[i] = value & known;
		ret_high[i] = value | (uint8_t)~known;
	}
	return 0;
}

const uint8_t *nb_registers_get(const struct nb_registers *registers, uint32_t number,
				size_t length)
{
	int offset = nb_register_offset(number, length);

	if (offset < 0)
		return NULL;
	for (size_t i = 0; i < length; i++)
		if (registers->known[(size_t)offset + i] != 0xff)
			return NULL;
	return &registers->value[offset];
}
