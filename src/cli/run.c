/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The context of one run: set up, torn down. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

int nb_run_prepare(struct nb_run *run, bool writer)
{
	int r;

	run->nl = nb_netlink_new();
	if (!run->nl)
		return nb_out_of_memory(run);
	run->config.mark = NB_MARK_DEFAULT;
	r = nb_config_read(run->options.config, &run->config, &run->error);
	if (r < 0)
		return r;
	if (!writer || run->options.dry_run)
		return 0;
	if (geteuid() != 0)
		return nb_error_set(&run->error, NB_STATUS_FAILED, EPERM, "permission",
				    "%s changes the kernel: run it as root (sudo nat-bridge ...)",
				    run->command->name);
	r = nb_lock_take(run);
	return r < 0 ? r : nb_ask_recheck(run);
}

int nb_run_tidy_rules(struct nb_run *run, bool gone)
{
	struct nb_error error;
	int r = nb_rules_tidy(run->options.rules, gone, &error);

	if (r >= 0)
		return r;
	/* it cannot be helped now, and keeps nobody from anything */
	if (r == -EROFS || r == -EACCES) {
		if (gone)
			nb_warn(&run->warnings, "%s", error.message);
		return 0;
	}
	run->error = error;
	return r;
}

static int prepare_rules(struct nb_run *run)
{
	int r = run->lock >= 0 ? nb_lock_rules(run) : 0;

	/* what a killed command staged and never committed */
	if (r == 0 && run->lock >= 0)
		r = nb_run_tidy_rules(run, false);
	return r < 0 ? r : 0;
}

int nb_run_read_rules(struct nb_run *run)
{
	int r = prepare_rules(run);

	if (r < 0)
		return r;
	return nb_rules_read(run->options.rules, &run->rules, &run->warnings, &run->error);
}

int nb_run_read_rules_about(struct nb_run *run, const struct nb_port_spec *specs, size_t count)
{
	const struct nb_rules_about about = { .specs = specs, .count = count };
	int r = prepare_rules(run);

	if (r < 0)
		return r;
	return nb_rules_read_about(run->options.rules, &about, &run->rules, &run->warnings,
				   &run->error);
}

void nb_run_finish(struct nb_run *run)
{
	nb_rules_clear(&run->rules);
	nb_difference_clear(&run->difference);
	nb_forget_engines(run);
	nb_config_clear(&run->config);
	nb_netlink_free(run->nl);
	nb_warnings_clear(&run->warnings);
	/* the kernel releases the lock with its last descriptor */
	if (run->rules_lock >= 0)
		close(run->rules_lock);
	if (run->lock >= 0)
		close(run->lock);
}

int nb_out_of_memory(struct nb_run *run)
{
	return nb_error_set(&run->error, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
}

bool nb_mapping_is_expired(const struct nb_mapping *mapping)
{
	return mapping->until && mapping->until * 1000 <= nb_now_ms();
}

bool nb_mapping_is_in_force(const struct nb_mapping *mapping)
{
	return mapping->enabled && !nb_mapping_is_expired(mapping);
}

void nb_warn_invalid(struct nb_run *run, const struct nb_rule_file *file, const char *so)
{
	const struct nb_error *error = file->error;

	if (error->line)
		nb_warn(&run->warnings, "%s:%u: %s%s", error->file, error->line, error->message,
			so);
	else if (strstr(error->message, error->file))
		nb_warn(&run->warnings, "%s%s", error->message, so);
	else
		nb_warn(&run->warnings, "%s: %s%s", error->file, error->message, so);
}

int nb_warn_invalid_files(struct nb_run *run, const struct nb_network *network,
			  const struct nb_port_spec *specs, size_t count)
{
	for (size_t i = 0; i < run->rules.file_count; i++) {
		const struct nb_rule_file *file = &run->rules.files[i];

		if (file->valid)
			continue;
		for (size_t j = 0; j < count; j++) {
			if (!nb_rules_invalid_mentions(&run->rules, file, network, specs[j].port))
				continue;
			run->error = *file->error;
			return -EINVAL;
		}
		nb_warn_invalid(run, file, " (the file is left out)");
	}
	return 0;
}
