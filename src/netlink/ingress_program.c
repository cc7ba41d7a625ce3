/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The classifier, instruction by instruction, and bpf(2).
 *
 *   not IPv4                                -> next filter
 *   IPv4 with our mark                      -> next filter
 *   from or to 127.0.0.0/8                  -> drop
 *   a source route, which may lead there    -> drop
 *   a header that cannot be read            -> drop
 *   everything else                         -> next filter
 *
 * Of 802.1Q tags the kernel has taken off the first before. Behind it IPv4 is IPv4. If there is
 * another, the frame belongs to a VLAN device or to nobody, unless the first
 * one says VLAN 0: then the kernel takes off the others, too, and
 * delivers the packet without asking filters again. Nobody sends such frames: they are dropped.
 *
 * The header is read by a helper, relative to the network header: right for
 * devices with Ethernet and without, and for packets that are linear only in
 * part. Each fragment has the addresses.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nat-bridge/ingress.h"

#define LOOPBACK_FIRST_BYTE 127
#define VLAN_ID_MASK	    0x0fff

#define IP_HEADER	20 /* bytes without options */
#define IP_SADDR_OFFSET 12
#define IP_DADDR_OFFSET 16

#define OPTION_END  0
#define OPTION_NOP  1
#define OPTION_LSRR 131 /* loose source and record route */
#define OPTION_SSRR 137 /* strict */

/* registers that calls leave alone */
#define SKB    BPF_REG_6 /* struct __sk_buff */
#define LENGTH BPF_REG_7 /* of the header with its options */
#define AT     BPF_REG_8 /* where in it an option begins */

/* on the stack, from its end: the header, and one byte of an option */
#define HEADER (-24)
#define OPTION (-32)

/* What jumps name; LABEL() is no instruction, and goes when the program is put together. */
enum label { TAGGED = 1, IPV4, NEXT_OPTION, LONG_OPTION, NEXT, DROP, LABEL_COUNT };
#define LABEL_CODE 0xff
#define LABEL(name)                                    \
	{                                              \
		.code = LABEL_CODE, .imm = (int)(name) \
	}

#define INSN(operation, to, from, offset, value)                                          \
	{                                                                                 \
		.code = (operation), .dst_reg = (to), .src_reg = (from), .off = (offset), \
		.imm = (value)                                                            \
	}
#define COPY(to, from)	       INSN(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(to, value)	       INSN(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define ADD(to, value)	       INSN(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)
#define ADD_REGISTER(to, from) INSN(BPF_ALU64 | BPF_ADD | BPF_X, to, from, 0, 0)
#define AND(to, value)	       INSN(BPF_ALU64 | BPF_AND | BPF_K, to, 0, 0, value)
#define AND32(to, value)       INSN(BPF_ALU | BPF_AND | BPF_K, to, 0, 0, value)
#define SHIFT_LEFT(to, value)  INSN(BPF_ALU64 | BPF_LSH | BPF_K, to, 0, 0, value)
#define FIELD(to, name) \
	INSN(BPF_LDX | BPF_MEM | BPF_W, to, SKB, offsetof(struct __sk_buff, name), 0)
#define BYTE(to, at)			  INSN(BPF_LDX | BPF_MEM | BPF_B, to, BPF_REG_10, at, 0)
#define IF_EQ(reg, value, label)	  INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, label, value)
#define IF_EQ32(reg, value, label)	  INSN(BPF_JMP32 | BPF_JEQ | BPF_K, reg, 0, label, value)
#define IF_NE(reg, value, label)	  INSN(BPF_JMP | BPF_JNE | BPF_K, reg, 0, label, value)
#define IF_LT(reg, value, label)	  INSN(BPF_JMP | BPF_JLT | BPF_K, reg, 0, label, value)
#define IF_LE(reg, value, label)	  INSN(BPF_JMP | BPF_JLE | BPF_K, reg, 0, label, value)
#define IF_GE_REGISTER(reg, other, label) INSN(BPF_JMP | BPF_JGE | BPF_X, reg, other, label, 0)
#define GOTO(label)			  INSN(BPF_JMP | BPF_JA, 0, 0, label, 0)
#define CALL(helper)			  INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT				  INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* r0 = bpf_skb_load_bytes_relative(skb, r2, to, count, BPF_HDR_START_NET): 0, or negative */
#define READ(to, count)                                                        \
	COPY(BPF_REG_1, SKB), COPY(BPF_REG_3, BPF_REG_10), ADD(BPF_REG_3, to), \
		SET(BPF_REG_4, count), SET(BPF_REG_5, BPF_HDR_START_NET),      \
		CALL(BPF_FUNC_skb_load_bytes_relative)

#define INSTRUCTIONS_MAX 96

/* Leave out labels and make distances of them. Returns the number of instructions. */
static unsigned int assemble(const struct bpf_insn *source, size_t count, struct bpf_insn *program)
{
	unsigned int position[LABEL_COUNT] = { 0 }, length = 0;

	for (size_t i = 0; i < count; i++) {
		if (source[i].code == LABEL_CODE)
			position[source[i].imm] = length;
		else
			program[length++] = source[i];
	}
	for (unsigned int i = 0; i < length; i++) {
		unsigned int class = BPF_CLASS(program[i].code);
		unsigned int operation = BPF_OP(program[i].code);

		if ((class != BPF_JMP && class != BPF_JMP32) || operation == BPF_CALL ||
		    operation == BPF_EXIT)
			continue;
		program[i].off = (short)((int)position[program[i].off] - (int)i - 1);
	}
	return length;
}

static unsigned int write_program(uint32_t mark, struct bpf_insn *program)
{
	const struct bpf_insn source[] = {
		COPY(SKB, BPF_REG_1),

		/* what is behind the first VLAN tag, in network byte order */
		FIELD(BPF_REG_0, protocol),
		IF_EQ(BPF_REG_0, htons(ETH_P_IP), IPV4),
		IF_EQ(BPF_REG_0, htons(ETH_P_8021Q), TAGGED),
		IF_NE(BPF_REG_0, htons(ETH_P_8021AD), NEXT),

		/* a second tag: behind a first one of VLAN 0 the kernel takes it off */
		LABEL(TAGGED),
		FIELD(BPF_REG_0, vlan_tci),
		AND(BPF_REG_0, VLAN_ID_MASK),
		IF_EQ(BPF_REG_0, 0, DROP),
		GOTO(NEXT),

		/* stamped: translated by a DNAT, with bridge-nf-call-iptables before it came here */
		LABEL(IPV4),
		FIELD(BPF_REG_0, mark),
		AND32(BPF_REG_0, (int)mark),
		IF_EQ32(BPF_REG_0, (int)mark, NEXT),

		/* the header without options; one that is shorter is none */
		SET(BPF_REG_2, 0),
		READ(HEADER, IP_HEADER),
		IF_NE(BPF_REG_0, 0, DROP),
		BYTE(BPF_REG_0, HEADER + IP_SADDR_OFFSET),
		IF_EQ(BPF_REG_0, LOOPBACK_FIRST_BYTE, DROP),
		BYTE(BPF_REG_0, HEADER + IP_DADDR_OFFSET),
		IF_EQ(BPF_REG_0, LOOPBACK_FIRST_BYTE, DROP),

		/* the second half of the first byte: the header's length in words of 4 bytes */
		BYTE(LENGTH, HEADER),
		AND(LENGTH, 0x0f),
		SHIFT_LEFT(LENGTH, 2),
		SET(AT, IP_HEADER),

		/* with options, 40 at most */
		LABEL(NEXT_OPTION),
		IF_GE_REGISTER(AT, LENGTH, NEXT),
		COPY(BPF_REG_2, AT),
		READ(OPTION, 1),
		IF_NE(BPF_REG_0, 0, DROP),
		BYTE(BPF_REG_0, OPTION),
		IF_EQ(BPF_REG_0, OPTION_END, NEXT),
		IF_EQ(BPF_REG_0, OPTION_LSRR, DROP),
		IF_EQ(BPF_REG_0, OPTION_SSRR, DROP),
		IF_NE(BPF_REG_0, OPTION_NOP, LONG_OPTION),
		ADD(AT, 1),
		GOTO(NEXT_OPTION),

		/* its second byte is its length; the kernel refuses those that are too short */
		LABEL(LONG_OPTION),
		COPY(BPF_REG_2, AT),
		ADD(BPF_REG_2, 1),
		READ(OPTION, 1),
		IF_NE(BPF_REG_0, 0, DROP),
		BYTE(BPF_REG_0, OPTION),
		IF_LT(BPF_REG_0, 2, DROP),
		ADD_REGISTER(AT, BPF_REG_0),
		GOTO(NEXT_OPTION),

		/* let other filters decide, and the stack if there are none */
		LABEL(NEXT),
		SET(BPF_REG_0, TC_ACT_UNSPEC),
		EXIT,

		LABEL(DROP),
		SET(BPF_REG_0, TC_ACT_SHOT),
		EXIT,
	};

	_Static_assert(sizeof(source) / sizeof(source[0]) <= INSTRUCTIONS_MAX, "room for it");
	return assemble(source, sizeof(source) / sizeof(source[0]), program);
}

static int load(const struct bpf_insn *program, unsigned int length)
{
	static const char license[] = "GPL";
	union bpf_attr attributes;
	long fd;

	memset(&attributes, 0, sizeof(attributes));
	attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attributes.insns = (uintptr_t)program;
	attributes.insn_cnt = length;
	attributes.license = (uintptr_t)license;
	strcpy(attributes.prog_name, "nat_bridge");
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
	return fd < 0 ? -errno : (int)fd;
}

int nb_ingress_load(uint32_t mark)
{
	struct rlimit unlimited = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	struct bpf_insn program[INSTRUCTIONS_MAX];
	unsigned int length = write_program(mark, program);
	int r = load(program, length);

	/* before Linux 5.11 programs count as locked memory */
	if (r == -EPERM && setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0)
		r = load(program, length);
	return r;
}
