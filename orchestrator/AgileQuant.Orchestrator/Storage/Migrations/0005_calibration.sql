-- Packs whose precision chooses something by what the model does with real tokens name the text they are calibrated on, as ids of
-- their model. The recipe, which holds the SHA-256 of those ids, is complete only when they are there: until then recipe and
-- recipe_sha are those of the order (text, precision, group size), and recipe_sha stays so, as the pack's identity.

alter table pack add column calibration_id uuid references token_file (id);
create index pack_calibration on pack (calibration_id) where calibration_id is not null;
